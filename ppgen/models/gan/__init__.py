"""Implicit families: rows are a function of noise, learned in a game against a critic. One member a file."""
