"""The languages that programs are written in, each an adapter."""
