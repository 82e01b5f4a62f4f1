"""What happens to registered models: they are verified, judged, promoted, rolled back, compared and traced."""
