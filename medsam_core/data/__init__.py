"""What is on disk: volumes, label conventions, cohorts, phantoms."""
