//go:build race

package tests

// raceEnabled says that the binary under test is built with the race detector too.
const raceEnabled = true
