"""The authorization server and admin console of Isthmus."""
