"""Google's client library for Compute Engine: credentials, configuration, requests, and Google's errors."""
