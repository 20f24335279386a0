"""Values, errors, deadlines, locks and other small tools that every package may import; it imports none of them."""
