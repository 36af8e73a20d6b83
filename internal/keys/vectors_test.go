package keys

// Vectors that another implementation computed (Python: hmac, hashlib, cryptography).
const (
	derivedForSession = "de90c04b999a121692e6b08ab0966f08b72ca9331c5c5598c6b6641d51f2afef"
	sealedSample      = "01630dcd296465666768696a6b6c6d6e6f7e3dfe9a962121a228a60c40867167fe942303f330d4c567"
)
