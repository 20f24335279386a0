"""Identity-Aware Proxy: TCP connections to instances through Google's relay (its protocol v4, as gcloud 528 speaks)."""
