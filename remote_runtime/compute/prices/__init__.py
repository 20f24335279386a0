"""What an hour of a VM costs: Google's price list, kept for a day, and the rows of it that a VM matches."""
