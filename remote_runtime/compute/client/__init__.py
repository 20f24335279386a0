"""Google's client library: credentials, configuration, and its exceptions as ours."""
