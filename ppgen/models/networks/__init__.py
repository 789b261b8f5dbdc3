"""The building blocks of the families: small torch networks that know nothing of probability."""
