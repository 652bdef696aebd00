"""From a weights file to answers, by whichever engine."""
