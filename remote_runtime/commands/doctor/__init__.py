"""Every check from the profile to the browser, in order, made with the same code as `up`, and changing nothing.

``journey``: a path of its own, undone afterwards. ``standing``: a runtime that is up, through its own port.
``computer``: this computer, without a profile. ``report``: what an issue tracker needs, without secrets.
"""
