"""What must be met, and what that leaves: costs and measured prices, error curves, and how much every block keeps."""
