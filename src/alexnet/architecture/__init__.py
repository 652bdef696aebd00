"""What a network is, and what follows from it by arithmetic. Standard library only."""
