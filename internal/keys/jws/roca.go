package jws

import "math/big"

// rocaPrimes are the small primes modulo which a modulus of the faulty generator is always a power of
// 65537 (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.3).
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
	101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

// roca reports whether an RSA modulus has the fingerprint of CVE-2017-15361. A random modulus has it
// by chance about once in 2^27.
func roca(n *big.Int) bool {
	for _, p := range rocaPrimes {
		rest := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		if !powerOf65537(rest, p) {
			return false
		}
	}
	return true
}

func powerOf65537(rest, p int64) bool {
	for power, step := int64(1), int64(0); step < p; step++ {
		if power == rest {
			return true
		}
		power = power * 65537 % p
	}
	return false
}
