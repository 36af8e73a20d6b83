package directory

// Note notes the use of a key.
func (u *Uses) Note(sum [32]byte) { u.note(sum) }

// Noted is how many uses wait.
func (u *Uses) Noted() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.noted)
}

// SetMost bounds what waits.
func (u *Uses) SetMost(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.most = n
}
