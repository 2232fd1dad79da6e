"""Laws of training under hosts; a package, so that several processes can import its tests."""
