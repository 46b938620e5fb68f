"""The privacy policy as data: its form, what is refused, what a change does, how it is published and written out."""
