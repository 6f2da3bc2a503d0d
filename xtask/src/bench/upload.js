// Puts append blobs into an emulator's container, as diagnostic settings do, and prints a SAS for it.
//
// Arguments: ENDPOINT ACCOUNT KEY CONTAINER DIRECTORY. Standard input: for each blob a line `FROM NAME`;
// its file's bytes from there on are appended, and the blob is created first where FROM is 0.
const crypto = require('crypto'), fs = require('fs'), http = require('http');

const [endpoint, account, key, container, directory] = process.argv.slice(1);
const BLOCK_BYTES = 4 << 20, AT_ONCE = 16;

function sas() {
  const [version, permissions, expiry, protocol] = ['2022-11-02', 'rlacw', '2099-12-31T00:00:00Z', 'https,http'];
  const signed = [account, permissions, 'b', 'sco', '', expiry, '', protocol, version, '', ''].join('\n');
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(signed).digest('base64');
  return new URLSearchParams({
    sv: version, ss: 'b', srt: 'sco', sp: permissions, se: expiry, spr: protocol, sig: signature,
  }).toString();
}

const query = sas(), agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });

function put(path, parameters, body, headers, accepted) {
  const url = `${endpoint}/${encodeURI(path)}?${parameters}${query}`;
  headers = { 'x-ms-version': '2022-11-02', 'content-length': body.length, ...headers };
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'PUT', agent, headers }, (answer) => {
      answer.resume().on('end', () => accepted.includes(answer.statusCode)
        ? resolve() : reject(new Error(`PUT ${path}: status ${answer.statusCode}`)));
    });
    request.on('error', reject).end(body);
  });
}

async function append(from, name) {
  const path = `${container}/${name}`, nothing = Buffer.alloc(0);
  if (from === 0) await put(path, '', nothing, { 'x-ms-blob-type': 'AppendBlob' }, [201]);
  const bytes = fs.readFileSync(`${directory}/${name}`).subarray(from);
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    await put(path, 'comp=appendblock&', bytes.subarray(at, at + BLOCK_BYTES), {}, [201]);
  }
}

async function main() {
  // 409: it is there already.
  await put(container, 'restype=container&', Buffer.alloc(0), {}, [201, 409]);
  const blobs = fs.readFileSync(0, 'utf8').split('\n').filter(Boolean).map((line) => line.match(/^(\d+) (.*)$/));
  const work = async () => { for (let blob; (blob = blobs.pop());) await append(Number(blob[1]), blob[2]); };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  process.stdout.write(query);
  agent.destroy();
}

main().catch((error) => { console.error(error.message); process.exit(1); });
