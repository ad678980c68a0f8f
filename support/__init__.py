"""What nobody needs to read first: flags, run folders, recipes, pictures, boards, faster twins."""
