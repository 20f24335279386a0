"""The pictures of the documents: what a person sees in a terminal, played for real in tmux."""
