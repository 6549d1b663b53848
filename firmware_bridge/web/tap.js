// Shows the cue that the stream tells; without a stream, or when a cue's time is over, the static picture.
"use strict";

const STREAM_LOST_MS = 2500;
const LOOK_EVERY_MS = 250;
const LASTING = new Set(["resting", "fault"]);

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
    notice: "碰一碰不会扣款",
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
    notice: "A tap never takes a payment",
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
  part("notice").textContent = LASTING.has(name) || name === "identify" ? "" : words.notice;
  part("corner").textContent = text || "fault";
  part("corner").hidden = !fault;
}

function drawStatic() {
  endsAt = 0;
  draw(LASTING.has(shown) ? "resting" : "invite", { live: false });
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
    if (!Object.hasOwn(words, cue.cue) || cue.cue === "notice") return;
    endsAt = heardAt + cue.ttl_ms;
    draw(cue.cue, cue);
  }));
}

// EventSource comes back by itself after a closed connection; a silent one, or one that was refused, is opened anew.
function look() {
  const now = performance.now();
  if (endsAt && now >= endsAt) drawStatic();
  if (now - heardAt >= STREAM_LOST_MS) {
    if (stage.dataset.live === "yes") drawStatic();
    connect();
  }
}

document.documentElement.lang = lang;
if (query.has("bg")) {
  document.body.dataset.layout = "full";
  const colour = query.get("bg");
  if (CSS.supports("color", colour)) document.body.style.setProperty("--bg", colour);
}
draw("invite", { live: false });
connect();
setInterval(look, LOOK_EVERY_MS);
