"""The keystore as all roles use it: holds, the restore guard, the rotation of keys, a change of identity rules."""
