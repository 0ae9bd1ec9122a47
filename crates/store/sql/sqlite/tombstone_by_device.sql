SELECT device, version, candidates, pin, unclaimed_at FROM tombstones WHERE device = ?1
