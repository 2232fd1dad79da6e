"""Numbers from matrices that can only be multiplied with."""
