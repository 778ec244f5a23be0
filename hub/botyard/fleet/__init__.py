"""The robots: who they are, whether they are there, and what they last said of themselves."""
