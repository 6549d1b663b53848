"""How the printed report looks: dark ink on white, one A4 sheet where it can be, nothing fetched from anywhere."""

CSS = """
:root{--ink:#1b2430;--soft:#5d6b7c;--line:#d9dfe6;--ground:#eef1f4;--good:#1f7a4d;--warn:#b26a00;--bad:#c0322b;
--blue:#2f6fb2;--light:#a9c6e4}
*{box-sizing:border-box}
body{margin:0;background:#f4f6f8;color:var(--ink);font:14px/1.45 system-ui,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:900px;margin:0 auto;padding:28px 34px 36px;background:#fff}
header{position:relative;border-bottom:2px solid var(--ink);padding-bottom:10px;margin-bottom:16px}
.over{margin:0;color:var(--soft);font-size:12px;letter-spacing:.04em}
h1{margin:2px 0 0;font-size:28px;line-height:1.15;overflow-wrap:anywhere;max-width:62%}
.when{margin:4px 0 0;color:var(--soft)}
.verdict{position:absolute;right:0;top:14px;margin:0;padding:7px 14px;border-radius:6px;color:#fff;font-weight:600;
max-width:36%;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.good{background:var(--good)}.warn{background:var(--warn)}.bad{background:var(--bad)}
.keys{display:grid;grid-template-columns:repeat(5,1fr);gap:0;margin:0 0 12px;border:1px solid var(--line);
border-radius:8px}
.keys div{padding:9px 14px}.keys div+div{border-left:1px solid var(--line)}
.keys dt{color:var(--soft);font-size:12px}
.keys dd{margin:0;font-size:21px;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
section{margin-top:13px}.pair,li,tr{break-inside:avoid}h2{break-after:avoid}
h2{margin:0 0 3px;font-size:15px}h2 small{font-weight:400;color:var(--soft);font-size:12px;margin-left:6px}
.pair{display:grid;grid-template-columns:1fr 178px;gap:16px;align-items:start}
svg{display:block;width:100%;height:auto;print-color-adjust:exact;-webkit-print-color-adjust:exact}
table{border-collapse:collapse;width:100%;font-size:12.5px}
th{font-weight:400;text-align:left;color:var(--soft);padding:3px 8px 3px 0;vertical-align:top}
td{text-align:right;font-variant-numeric:tabular-nums;padding:3px 0}
tr+tr>*{border-top:1px solid var(--line)}
.facts th{width:150px}.facts td{text-align:left;overflow-wrap:anywhere}
ul{margin:4px 0;padding:0;list-style:none}
li{padding:4px 0 4px 12px;border-left:4px solid var(--soft);margin-bottom:5px;overflow-wrap:anywhere}
li.error{border-color:var(--bad)}li.warning{border-color:var(--warn)}
li code{color:var(--soft);font-size:12px}
.text p{margin:2px 0;color:var(--soft)}
footer{margin-top:16px;padding-top:8px;border-top:1px solid var(--line);color:var(--soft);font-size:11.5px}
.axis{font:11px system-ui,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.grid,.tick{stroke:var(--line);stroke-width:1;fill:none}.tick{stroke:var(--soft)}
.unknown{fill:var(--ground)}.known{fill:#fff}
.taps{fill:var(--blue)}.refused{fill:#e09a2b}.lost,.resets,.ill{fill:var(--bad)}.screens{fill:var(--ink)}
.queue{fill:#6b5aa8}.well{fill:#5aa981}
.p50,.p99{fill:none;stroke-width:2.4}.p50{stroke:var(--blue)}.p99{stroke:var(--light)}
@media print{@page{size:A4;margin:10mm 12mm}body{background:#fff;font-size:10.5px;line-height:1.3}
main{max-width:none;padding:0}
h1{font-size:22px}.keys dd{font-size:16px}section{margin-top:6px}.pair{grid-template-columns:1fr 150px}
table{font-size:10px}th,td{padding-top:1.5px;padding-bottom:1.5px}.keys div{padding:5px 10px}
li{padding:1px 0 1px 12px;margin-bottom:3px}footer{margin-top:8px;padding-top:4px;font-size:9.5px}}
@media (max-width:640px){main{padding:18px 14px}.pair,.keys{grid-template-columns:1fr}.verdict{position:static;
display:inline-block;max-width:none;margin-top:8px}h1{max-width:none}.keys div+div{border-left:0;
border-top:1px solid var(--line)}}
"""
