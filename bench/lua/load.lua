-- Sends prepared requests in turn, counts every answer's status and ends with one line of JSON.
-- Arguments: the expected status, a file of whole HTTP requests parted by NUL, and after which of them to begin.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  expected_status = tonumber(args[1])
  expected, unexpected, last_unexpected = 0, 0, 0
  requests, turn = {}, tonumber(args[3])
  local file = assert(io.open(args[2], "rb"))
  for one in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = one
  end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(status)
  if status == expected_status then
    expected = expected + 1
  else
    unexpected, last_unexpected = unexpected + 1, status
  end
end

function done(summary, latency)
  local sum = { expected = 0, unexpected = 0, last_unexpected = 0 }
  for _, thread in ipairs(threads) do
    sum.expected = sum.expected + thread:get("expected")
    sum.unexpected = sum.unexpected + thread:get("unexpected")
    sum.last_unexpected = math.max(sum.last_unexpected, thread:get("last_unexpected"))
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"expected":%d,"unexpected":%d,"last_unexpected":%d,"socket_errors":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    sum.expected, sum.unexpected, sum.last_unexpected,
    errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
