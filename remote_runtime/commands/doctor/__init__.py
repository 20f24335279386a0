"""Checks everything from the profile to the browser with the code of `up`, and changes nothing. ``run`` chooses:
``dry_run`` for a runtime that is down, ``running_checks`` for a running one, ``local_checks`` without a profile."""
