// Drives one browser for the end-to-end tests: Chromium by its own protocol, Firefox by WebDriver BiDi,
// which it speaks without a driver beside it. Arguments: chrome or firefox, and the program.
//
// It prints "READY {"version": ...}", then answers each line of JSON on its standard input,
// {"id": n, "do": name, ...}, with one, {"id": n, "value": ...} or {"id": n, "error": text}. It ends, and
// the browser with it, when the standard input does. A control is named as a screen reader has it, by
// its role and name; what only a selector finds, nobody can be told to press.

import { createInterface } from 'node:readline'
import puppeteer from 'puppeteer-core'

const [kind, executablePath] = process.argv.slice(2)
const chrome = kind === 'chrome'

const browser = await puppeteer.launch({
	browser: kind, executablePath, headless: true, acceptInsecureCerts: true, defaultViewport: { width: 1280, height: 800 },
	args: chrome ? [
		'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
		'--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
	] : [],
	extraPrefsFirefox: {
		'app.update.enabled': false, 'datareporting.policy.dataSubmissionEnabled': false, 'network.captive-portal-service.enabled': false,
		'network.connectivity-service.enabled': false, 'browser.safebrowsing.malware.enabled': false, 'browser.safebrowsing.phishing.enabled': false,
		'services.settings.server': 'data:,', 'dom.disable_beforeunload': true,
	},
})

const contexts = [], pages = []
const timeout = 20_000

const control = ({ role, name }) => `::-p-aria(${name}[role="${role}"])`

// field finds a text field by its name. Firefox gives one for passwords no role that can be asked for.
async function field(page, { selector, role, name }) {
	if (selector || chrome) return page.waitForSelector(selector ?? control({ role, name }), { timeout })
	for (const end = Date.now() + timeout; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
		for (const found of await page.$$(`::-p-aria(${name})`)) {
			if (await found.evaluate((element) => element.tagName === 'INPUT')) return found
		}
	}
	throw new Error(`there is no field ${name}`)
}

const commands = {
	async context() {
		return contexts.push(await browser.createBrowserContext()) - 1
	},
	async page({ context }) {
		const page = await contexts[context].newPage()
		page.setDefaultTimeout(timeout)
		return pages.push(page) - 1
	},
	async goto({ page, url }) {
		const response = await pages[page].goto(url, { timeout })
		return response ? response.status() : 0
	},
	async click({ page, leaves, selector, ...what }) {
		const target = await pages[page].waitForSelector(selector ?? control(what), { timeout })
		if (!leaves) return target.click()
		await Promise.all([pages[page].waitForNavigation({ timeout }), target.click()])
	},
	async press({ page, key, leaves }) {
		if (!leaves) return pages[page].keyboard.press(key)
		await Promise.all([pages[page].waitForNavigation({ timeout }), pages[page].keyboard.press(key)])
	},
	async type({ page, text }) {
		await pages[page].keyboard.type(text)
	},
	async fill({ page, text, ...what }) {
		const into = await field(pages[page], what)
		await into.evaluate((element) => { element.value = '' })
		await into.type(text)
	},
	url: ({ page }) => pages[page].url(),
	text: ({ page }) => pages[page].evaluate(() => document.body.innerText),
	evaluate: ({ page, expression }) => pages[page].evaluate(expression),
	cookies: ({ context }) => contexts[context].cookies(),
	async permit({ context, origin }) {
		await contexts[context].overridePermissions(origin, ['clipboard-read', 'clipboard-sanitized-write'])
	},
	// unnamed lists the controls of a page that have no name, for who cannot see what stands beside them.
	async unnamed({ page }) {
		const found = []
		const visit = (node) => {
			if (['button', 'link', 'textbox', 'checkbox', 'radio', 'combobox'].includes(node.role) && !node.name) found.push(node.role)
			for (const child of node.children ?? []) visit(child)
		}
		const tree = await pages[page].accessibility.snapshot({ interestingOnly: false })
		visit(tree)
		return found
	},
	async screenshot({ page, path, width, dark }) {
		await pages[page].setViewport({ width, height: 800 })
		if (chrome) await pages[page].emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }])
		await pages[page].screenshot({ path, fullPage: true })
		await pages[page].setViewport({ width: 1280, height: 800 })
	},
	close: ({ context }) => contexts[context].close(),
}

console.log('READY ' + JSON.stringify({ version: await browser.version() }))
for await (const line of createInterface({ input: process.stdin })) {
	const { id, do: name, ...input } = JSON.parse(line)
	Promise.resolve().then(() => commands[name](input)).then(
		(value) => console.log(JSON.stringify({ id, value: value ?? null })),
		(error) => console.log(JSON.stringify({ id, error: `${name}: ${error.message}` })),
	)
}
await browser.close()
