// An OpenID provider for the end-to-end tests: oidc-provider, as it comes from npm, whose accounts,
// clients, keys and moods the test sets through a second port. It keeps everything in memory, listens
// on loopback only, and ends when its standard input does.
//
// At start it prints "READY {"issuer": URL, "control": URL}". Variables: PROVIDER_PORT and
// PROVIDER_CONTROL_PORT (0: any), PROVIDER_ISSUER (default: where it listens).
//
// Whoever arrives with login_hint is signed in as that account without a question; without it there
// is a form with one field, `login`. Consent is always given.
//
// The control port takes POST with a JSON object and answers one:
//   /client    a client's metadata; replaces one of the same client_id (its id is the tokens' `aud`)
//   /account   {"id": ..., "claims": {...}}: claims of the id token beside `sub`, which is the id; an id
//              with an @ is also the verified `email`
//   /rotate    {"alg": "RS256", "keep": true}: sign with a new key; without keep the old ones go
//   /lifetime  {"seconds": 3600} of id tokens from now on
//   /mood      {"mood": "well" | "refusing" | "failing" | "hanging"}
//   /requests  how often each path was asked for since the last call

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import http from 'node:http'
import { Provider, interactionPolicy } from 'oidc-provider'

const state = { issuer: '', clients: new Map(), accounts: new Map(), keys: [], lifetime: 3600, mood: 'well', requests: {} }
let provider, callback

const withoutConsent = interactionPolicy.base()
withoutConsent.remove('consent')

function newKey(alg) {
	const options = { RS: ['rsa', { modulusLength: 2048 }], PS: ['rsa', { modulusLength: 2048 }], ES: ['ec', { namedCurve: 'P-256' }], Ed: ['ed25519', {}] }
	const { privateKey } = generateKeyPairSync(...options[alg.slice(0, 2)])
	return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig' }
}

// client is metadata with what nearly every client here wants. `native` is what may use http on
// loopback.
function client(metadata) {
	return {
		token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: ['http://127.0.0.1/oidc/callback'],
		grant_types: ['authorization_code', 'implicit'], response_types: ['code', 'id_token'], id_token_signed_response_alg: 'RS256', ...metadata,
	}
}

// account is what findAccount must return; claims appear in the id token as they are.
function account(id) {
	const email = id.includes('@') && { email: id, email_verified: true }
	return { accountId: id, claims: () => ({ ...email, ...state.accounts.get(id), sub: id }) }
}

// configure makes a provider of the state. Sessions, codes and grants outlive it: oidc-provider's
// memory is its module's, not its instance's.
function configure() {
	const names = new Set(['sub', 'email', 'email_verified', 'name', 'preferred_username', 'groups'])
	for (const claims of state.accounts.values()) Object.keys(claims).forEach((name) => names.add(name))
	provider = new Provider(state.issuer, {
		clients: [...state.clients.values()].map(client),
		jwks: { keys: state.keys },
		cookies: { keys: ['the cookies of a test'] },
		claims: { openid: [...names], profile: [], email: [], groups: [] },
		// Without the dispatcher, which refuses loopback, where all of a test is.
		fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
		conformIdTokenClaims: false, // claims in the id token, as the providers of companies do
		scopes: ['openid', 'profile', 'email', 'groups'],
		enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
		findAccount: (_, id) => account(id),
		interactions: { policy: withoutConsent, url: (_, interaction) => `/interaction/${interaction.uid}` },
		features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
		ttl: { IdToken: () => state.lifetime, Session: 86400, Grant: 86400, Interaction: 3600, AccessToken: 3600, AuthorizationCode: 60 },
		async loadExistingGrant(ctx) {
			const { client: asking, session } = ctx.oidc
			const existing = session.grantIdFor(asking.clientId)
			const grant = (existing && (await ctx.oidc.provider.Grant.find(existing))) ||
				new ctx.oidc.provider.Grant({ clientId: asking.clientId, accountId: session.accountId })
			grant.addOIDCScope('openid profile email groups')
			await grant.save()
			return grant
		},
	})
	provider.on('backchannel.error', (_, error, to) => console.error(`telling ${to.clientId} of the end of a session: ${error} ${error.cause ?? ""}`))
	callback = provider.callback()
}

// interact signs in whom login_hint or the form names.
async function interact(req, res) {
	const { params } = await provider.interactionDetails(req, res)
	const login = req.method === 'POST' ? new URLSearchParams(await read(req)).get('login') : params.login_hint
	if (login) {
		return provider.interactionFinished(req, res, { login: { accountId: login } })
	}
	res.setHeader('Content-Type', 'text/html; charset=utf-8')
	res.end('<!doctype html><title>Sign in at the provider</title><form method="post"><input name="login" autofocus><button>Sign in</button></form>')
}

async function read(req) {
	const parts = []
	for await (const part of req) parts.push(part)
	return Buffer.concat(parts).toString()
}

async function serve(req, res) {
	const { pathname } = new URL(req.url, 'http://provider')
	state.requests[pathname] = (state.requests[pathname] ?? 0) + 1
	switch (state.mood) {
		case 'hanging':
			return
		case 'failing':
			res.statusCode = 503
			return res.end('down')
		case 'refusing':
			return req.socket.destroy()
	}
	if (pathname.startsWith('/interaction/')) {
		return interact(req, res)
	}
	return callback(req, res)
}

const controls = {
	'/client': (metadata) => { state.clients.set(metadata.client_id, metadata); configure() },
	'/account': ({ id, claims }) => { state.accounts.set(id, claims); configure() },
	'/rotate': ({ alg = 'RS256', keep = false }) => {
		state.keys = [newKey(alg), ...(keep ? state.keys : [])]
		for (const metadata of state.clients.values()) metadata.id_token_signed_response_alg = alg
		configure()
		return { kid: state.keys[0].kid }
	},
	'/lifetime': ({ seconds }) => { state.lifetime = seconds },
	'/mood': ({ mood }) => {
		state.mood = mood
		if (mood !== 'well') server.closeIdleConnections()
	},
	'/requests': () => {
		const { requests } = state
		state.requests = {}
		return requests
	},
}

async function control(req, res) {
	try {
		const body = await read(req)
		res.end(JSON.stringify(controls[req.url](body ? JSON.parse(body) : {}) ?? {}))
	} catch (error) {
		res.statusCode = 400
		res.end(String(error.stack))
	}
}

function guarded(handler) {
	return (req, res) => handler(req, res).catch((error) => {
		console.error(error)
		res.statusCode = 500
		res.end(String(error))
	})
}

const server = http.createServer(guarded(serve))
server.on('connection', (socket) => { if (state.mood === 'refusing') socket.destroy() })
const controlServer = http.createServer(control)

async function listen(onto, port) {
	await new Promise((resolve, reject) => onto.on('error', reject).listen(Number(port ?? 0), '127.0.0.1', resolve))
	return `http://127.0.0.1:${onto.address().port}`
}

const address = await listen(server, process.env.PROVIDER_PORT)
state.issuer = process.env.PROVIDER_ISSUER || address
state.keys = [newKey('RS256')]
configure()
console.log('READY ' + JSON.stringify({ issuer: state.issuer, control: await listen(controlServer, process.env.PROVIDER_CONTROL_PORT) }))
process.stdin.on('end', () => process.exit()).resume()
