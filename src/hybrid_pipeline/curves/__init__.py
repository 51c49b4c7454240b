"""What is read off a training curve, once, for the advisor and the stability study."""
