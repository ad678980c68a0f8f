"""What each paper claims, measured in miniature: `python -m claims.NAME`."""
