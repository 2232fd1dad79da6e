"""Laws of training in several processes; a package, so that those processes can import its tests."""
