"""What comes next: the flows build, sweep, retrain, promote and reproduce."""

FORM_OF = "secateur"
