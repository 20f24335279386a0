"""Code that runs on the remote machine: Python 3.8 or newer, standard library only, no import from outside this
package.

The launcher loads these modules from memory; ``run_server.py`` is written to ``boot.py`` there.
"""
