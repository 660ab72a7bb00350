// A person's way over the pages in a real browser. Prints what was seen as one JSON object.
// Arguments: the browser, the issuer, the authorization request, the name and the password, and a folder for pictures.
import { chromium } from "playwright-core";

const [executablePath, issuer, request, username, password, pictures] = process.argv.slice(2);
const seen = { steps: [], complaints: [], elsewhere: [], wide: [], answer: "" };
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const callback = new URL(new URL(request).searchParams.get("redirect_uri"));

async function walk(name, options) {
  const context = await browser.newContext({ javaScriptEnabled: false, ...options });
  const page = await context.newPage();
  page.on("console", (message) => seen.complaints.push(message.text()));
  page.on("request", (sent) => {
    const origin = new URL(sent.url()).origin;
    if (origin !== issuer && origin !== callback.origin) seen.elsewhere.push(sent.url());
  });
  const look = async (step) => {
    seen.steps.push([name, step, await page.locator("h1").innerText()]);
    const { width } = page.viewportSize();
    const box = await page.locator("main").boundingBox();
    if (box.x < 0 || box.x + box.width > width) seen.wide.push([name, step, box]);
    await page.screenshot({ path: `${pictures}/${name}-${step}.png`, fullPage: true });
  };
  await page.goto(request);
  await look("sign-in");
  await page.getByLabel("Name", { exact: true }).fill(username);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/consent*");
  await look("consent");
  await page.getByRole("button", { name: "Allow" }).click();
  await page.waitForURL((url) => url.origin === callback.origin);
  seen.answer = page.url();
  await page.goto(`${issuer}/account`);
  await look("account");
  await page.goto(`${issuer}/authorize?client_id=nobody`);
  await look("error");
  await context.close();
}

await walk("desktop", { viewport: { width: 1100, height: 900 }, colorScheme: "light" });
await walk("phone", { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
await browser.close();
console.log(JSON.stringify(seen));
