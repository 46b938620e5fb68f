"""How officers come in: by a link of the terminal, or by an identity provider (OpenID Connect); their sessions."""
