// Shows the cue that the stream tells; without a stream, or when a cue's time is over, the static picture. With the
// invitation, a QR code for phones without NFC: never one whose time is over, never without a living stream.
"use strict";

const STREAM_LOST_MS = 2500;
const LOOK_EVERY_MS = 250;
const MOMENT_EVERY_MS = 9000; // the phone of the invitation taps once; between, nothing moves and no frame is made
const MOMENT_MS = 1550; // a little longer than its animations
const QUIET = 4; // modules of white around a QR code (ISO/IEC 18004)
const CONTRAST = 4.5; // of the advert's colours on the card's ink, and of that ink on them (WCAG 2.2, 1.4.3)
const INK = [8, 13, 32];
const SEGMENTER = new Intl.Segmenter("zh", { granularity: "word" });
const HAN = /^\p{Script=Han}+$/u;
const SIZES = [1, 0.88, 0.77, 0.68, 0.6, 0.52, 0.45, 0.38];
const WHOLE_SIZES = SIZES.slice(0, 5); // a headline rather becomes that small than that one of its phrases is broken
const CONFETTI = 26;
const PIECES = ["#ffd76a", "#2ee6a8", "#ff6b8a", "#35d6ff", "#b794ff", "#ffffff"];
const WITHOUT_INVITATION = new Set(["resting", "fault", "quiet"]);
const IN_ITS_COLOURS = new Set(["invite", "reading", "thanks"]);

const WORDS = {
  "zh-CN": {
    invite: ["手机碰一碰", "解锁手机，背面贴近感应区"],
    reading: ["请保持不动", "正在读取…"],
    thanks: ["谢谢！", ""],
    unlock: ["请先解锁手机", "解锁后再碰一次"],
    retry: ["再碰一次", "请贴近感应区，多停留一会儿"],
    resting: ["休息一下", "暂停碰一碰，请稍后再来"],
    fault: ["暂时无法使用", ""],
    identify: ["", "技术人员正在确认这块屏幕"],
    quiet: ["", ""],
    notice: "碰一碰不会扣款",
    scan: "没有 NFC？扫一扫",
  },
  en: {
    invite: ["Tap your phone here", "Unlock it, then hold its back to the reader"],
    reading: ["Hold still", "Reading…"],
    thanks: ["Thank you!", ""],
    unlock: ["Unlock your phone", "Then tap once more"],
    retry: ["Tap once more", "Hold it close a little longer"],
    resting: ["Taking a break", "Tapping is paused, please come back soon"],
    fault: ["Not available now", ""],
    identify: ["", "A technician is looking for this screen"],
    quiet: ["", ""],
    notice: "A tap never takes a payment",
    scan: "No NFC? Scan me",
  },
};

const query = new URLSearchParams(location.search);
const lang = (query.get("lang") || document.documentElement.lang).toLowerCase().startsWith("en") ? "en" : "zh-CN";
const ours = WORDS[lang];
const part = (id) => document.getElementById(id);
const stage = part("stage");
const panel = document.querySelector(".panel");
const words = document.querySelector(".words");

let terminal = "";
let source = null;
let heardAt = 0;
let endsAt = 0;
let momentAt = 0;
let shown = "";
let drawn = ""; // all that is drawn, as text: the same again changes nothing
let ticket = null; // { side, endsAt }: modules with their quiet zone, and when the code's life is over

function draw(name, { text = "", amount = null, level = 100, words: said = {}, colours = null } = {}, live = true) {
  const now = JSON.stringify([name, text, amount, level, said, colours, live]);
  if (now === drawn) {
    if (!WITHOUT_INVITATION.has(name) && name !== "invite") restart();
    return;
  }
  const [title, hint] = ours[name];
  const own = said[lang] || ""; // the advert's: the headline of its invitation, the line below its thanks
  const fault = name === "fault";
  const identify = name === "identify";
  drawn = now;
  shown = name;
  momentAt = performance.now() - MOMENT_EVERY_MS + 700;
  stage.dataset.cue = name;
  stage.dataset.live = live ? "yes" : "no";
  stage.dataset.moment = "no";
  document.body.dataset.dim = level < 100 ? "yes" : "no";
  document.body.style.setProperty("--dim", String(0.7 * (1 - level / 100)));
  paint(IN_ITS_COLOURS.has(name) ? colours : null);
  if (identify) say("title", (text || terminal).replaceAll(" · ", "\n"), "");
  else say("title", name === "invite" ? own : "", title);
  part("amount").textContent = amount ?? "";
  say("hint", identify || fault ? "" : text || (name === "thanks" ? own : ""), hint);
  part("notice").textContent = WITHOUT_INVITATION.has(name) || identify ? "" : ours.notice;
  part("corner").textContent = text || "fault";
  part("corner").hidden = !fault;
  placeTicket();
  fit();
}

function say(id, theirs, own) {
  part(id).textContent = theirs || own;
  part(id).dataset.own = theirs ? "no" : "yes";
  if (theirs) part(id).replaceChildren(...inWords(theirs));
}

// Words that may be parted from each other, although no space is between them; all else the style sheet keeps together.
function inWords(text) {
  const parts = [];
  let before = "";
  for (const { segment } of SEGMENTER.segment(text)) {
    if (HAN.test(before) && HAN.test(segment)) parts.push(document.createElement("wbr"));
    parts.push(segment);
    before = segment;
  }
  return parts;
}

// The same answer once more is another tap: it moves once more.
function restart() {
  for (const animation of document.getAnimations()) animation.currentTime = 0;
}

// Long words become smaller until the card holds them: the advert's and an id as far as needed, our own title a little.
function fit() {
  const fits = (line) => line.scrollWidth <= line.clientWidth + 1;
  const edge = parseFloat(getComputedStyle(panel).paddingTop) - 1;
  const held = () => {
    const [box, room] = [words, panel].map((element) => element.getBoundingClientRect());
    const inside = box.top >= room.top + edge && box.bottom <= room.bottom - edge && room.top >= 0 && room.right <= innerWidth;
    return inside && ["title", "amount", "hint"].map(part).every(fits);
  };
  const shrink = (name, enough, sizes = SIZES) => sizes.some((size) => {
    panel.style.setProperty(name, size);
    return enough();
  });
  panel.dataset.broken = "no";
  shrink("--fit-amount", () => fits(part("amount")));
  shrink("--fit-notice", () => fits(part("notice")));
  if (shrink("--fit", held, WHOLE_SIZES)) return;
  panel.dataset.broken = "phrase";
  if (shrink("--fit", held)) return;
  panel.dataset.broken = "word"; // in the middle of it, where nothing else helps
  shrink("--fit", held);
}

function paint(colours) {
  const valid = Array.isArray(colours) && colours.length === 2 && colours.every((c) => /^#[0-9a-f]{6}$/i.test(c));
  ["--from", "--to"].forEach((name, at) => {
    if (valid) stage.style.setProperty(name, legible(colours[at]));
    else stage.style.removeProperty(name);
  });
}

// The colour, with as much white in it as it needs to be read on the ink.
function legible(colour) {
  const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  for (let white = 0; ; white += 0.05) {
    const mixed = rgb.map((value) => Math.round(value + (255 - value) * white));
    if ((luminance(mixed) + 0.05) / (luminance(INK) + 0.05) >= CONTRAST) return `rgb(${mixed.join(" ")})`;
  }
}

function luminance(rgb) {
  const [red, green, blue] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// The card keeps its place for as long as there is a ticket, so that nothing jumps when a phone comes.
function placeTicket() {
  const offered = ticket !== null && shown === "invite" && stage.dataset.live === "yes";
  stage.dataset.ticket = ticket ? "yes" : "no";
  stage.dataset.code = offered ? "yes" : "no";
  if (!ticket) return;
  // Whole pixels for each module, or they differ in width.
  const dots = window.devicePixelRatio || 1;
  const room = parseFloat(getComputedStyle(part("ticket")).getPropertyValue("max-width"));
  const size = Math.max(1, Math.floor((room * dots) / ticket.side)) * (ticket.side / dots);
  part("code").style.width = part("code").style.height = `${size}px`;
}

function takeTicket({ rows, ttl_ms: life }) {
  if (!rows) {
    dropTicket();
    return;
  }
  const side = rows.length + 2 * QUIET;
  const dark = rows.flatMap((row, y) =>
    [...row.matchAll(/1+/g)].map((run) => {
      const width = run[0].length;
      return `M${run.index + QUIET} ${y + QUIET}h${width}v1h-${width}z`;
    }),
  );
  part("code").setAttribute("viewBox", `0 0 ${side} ${side}`);
  part("code").firstElementChild.setAttribute("d", dark.join(""));
  ticket = { side, endsAt: heardAt + life };
  arrange();
}

function dropTicket() {
  if (!ticket) return;
  ticket = null;
  part("code").firstElementChild.removeAttribute("d");
  arrange();
}

function arrange() {
  placeTicket();
  fit();
}

function drawStatic() {
  endsAt = 0;
  draw(WITHOUT_INVITATION.has(shown) ? "resting" : "invite", {}, false);
}

function connect() {
  source?.close();
  source = new EventSource("/events");
  heardAt = performance.now();
  const heard = (handle) => (event) => {
    heardAt = performance.now();
    handle(JSON.parse(event.data));
  };
  source.addEventListener("hello", heard((hello) => { terminal = hello.terminal; }));
  source.addEventListener("beat", heard(() => {}));
  source.addEventListener("cue", heard((cue) => {
    if (!Object.hasOwn(ours, cue.cue) || !Array.isArray(ours[cue.cue])) return;
    endsAt = heardAt + cue.ttl_ms;
    draw(cue.cue, cue);
  }));
  source.addEventListener("ticket", heard(takeTicket));
  // Whoever opens the stream again is told the ticket again.
  source.addEventListener("error", dropTicket);
}

// EventSource comes back by itself after a closed connection; a silent one, or one that was refused, is opened anew.
function look() {
  const now = performance.now();
  if (ticket && now >= ticket.endsAt) dropTicket();
  if (endsAt && now >= endsAt) drawStatic();
  if (now - heardAt >= STREAM_LOST_MS) {
    if (stage.dataset.live === "yes") drawStatic();
    dropTicket();
    connect();
  }
  move(now);
}

function move(now) {
  if (shown !== "invite" || stage.dataset.live !== "yes") return;
  if (now - momentAt >= MOMENT_EVERY_MS) {
    momentAt = now;
    stage.dataset.moment = "yes";
  } else if (now - momentAt >= MOMENT_MS) {
    stage.dataset.moment = "no";
  }
}

// Each piece flies its own way: the golden angle spreads them, three distances keep them from making a ring.
function cutConfetti() {
  for (let piece = 0; piece < CONFETTI; piece += 1) {
    const element = document.createElement("i");
    const [angle, far] = [piece * 2.39996, 0.42 + 0.13 * (piece % 4)];
    element.style.setProperty("--piece", PIECES[piece % PIECES.length]);
    element.style.setProperty("--x", `calc(${(Math.cos(angle) * far).toFixed(3)} * var(--d))`);
    element.style.setProperty("--y", `calc(${(Math.sin(angle) * far - 0.12).toFixed(3)} * var(--d))`);
    element.style.setProperty("--turn", `${(piece % 2 ? -1 : 1) * (140 + 23 * piece)}deg`);
    part("confetti").append(element);
  }
}

document.documentElement.lang = lang;
if (query.has("bg")) {
  document.body.dataset.layout = "full";
  const colour = query.get("bg");
  if (CSS.supports("color", colour)) document.body.style.setProperty("--bg", colour);
  const seen = /^rgb\((\d+), (\d+), (\d+)\)$/.exec(getComputedStyle(document.body).backgroundColor);
  const readable = seen && 1.05 / (luminance(seen.slice(1).map(Number)) + 0.05) >= CONTRAST;
  document.body.dataset.card = readable ? "no" : "yes";
}
if (["above", "below", "left", "right"].includes(query.get("reader"))) document.body.dataset.reader = query.get("reader");
part("scan").textContent = ours.scan;
cutConfetti();
window.addEventListener("resize", arrange);
draw("invite", {}, false);
connect();
setInterval(look, LOOK_EVERY_MS);
