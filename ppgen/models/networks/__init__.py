"""The building blocks of the families: small torch networks, with no probability in them."""
