// Shows the cue that the stream tells; without a stream, or when a cue's time is over, the static picture. With the
// invitation, a QR code for phones without NFC: never one whose time is over, never without a living stream.
"use strict";

const STREAM_LOST_MS = 2500;
const LOOK_EVERY_MS = 250;
const QUIET = 4; // modules of white around a QR code (ISO/IEC 18004)
const WITHOUT_INVITATION = new Set(["resting", "fault", "quiet"]);

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
const words = WORDS[lang];
const part = (id) => document.getElementById(id);
const stage = part("stage");

let terminal = "";
let source = null;
let heardAt = 0;
let endsAt = 0;
let shown = "invite";
let ticket = null; // { side, endsAt }: modules with their quiet zone, and when the code's life is over

function draw(name, { text = "", amount = null, level = 100, live = true } = {}) {
  const [title, hint] = words[name];
  const fault = name === "fault";
  shown = name;
  stage.dataset.cue = name;
  stage.dataset.live = live ? "yes" : "no";
  stage.style.opacity = String(0.3 + 0.7 * (level / 100));
  part("title").textContent = name === "identify" ? (text || terminal).replaceAll(" · ", "\n") : title;
  part("amount").textContent = amount ?? "";
  part("hint").textContent = name === "identify" || fault ? hint : text || hint;
  part("notice").textContent = WITHOUT_INVITATION.has(name) || name === "identify" ? "" : words.notice;
  part("corner").textContent = text || "fault";
  part("corner").hidden = !fault;
  placeTicket();
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
  placeTicket();
}

function dropTicket() {
  ticket = null;
  part("code").firstElementChild.removeAttribute("d");
  placeTicket();
}

function drawStatic() {
  endsAt = 0;
  draw(WITHOUT_INVITATION.has(shown) ? "resting" : "invite", { live: false });
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
    if (!Object.hasOwn(words, cue.cue) || !Array.isArray(words[cue.cue])) return;
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
}

document.documentElement.lang = lang;
if (query.has("bg")) {
  document.body.dataset.layout = "full";
  const colour = query.get("bg");
  if (CSS.supports("color", colour)) document.body.style.setProperty("--bg", colour);
}
part("scan").textContent = words.scan;
window.addEventListener("resize", placeTicket);
draw("invite", { live: false });
connect();
setInterval(look, LOOK_EVERY_MS);
