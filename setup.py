"""What setup.cfg cannot say: the packages found here, and the ready profiles of ``profiles/`` as one more."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["remote_runtime*"]), "remote_runtime.ready_profiles"])
