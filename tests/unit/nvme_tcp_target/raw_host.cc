// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/nvme_tcp_target/raw_host.h"

#include <algorithm>
#include <cerrno>

#include "nvme/spec/features.h"
#include "reactor/connect.h"

namespace remora::test {

namespace {

std::vector<std::byte> sealed(std::span<const std::byte> header,
                              bool header_digest,
                              std::span<const std::byte> data,
                              bool data_digest) {
    std::vector<std::byte> out(header.begin(), header.end());
    if (header_digest) {
        out.resize(out.size() + 4);
        tcp::seal_header(out, header.size());
    }
    out.insert(out.end(), data.begin(), data.end());
    if (data_digest) {
        std::array<std::byte, 4> digest{};
        tcp::store_digest(digest, core::crc32c(data));
        out.insert(out.end(), digest.begin(), digest.end());
    }
    return out;
}

}  // namespace

Task<std::unique_ptr<RawHost>> RawHost::open(reactor::Endpoint at) {
    auto stream =
        co_await reactor::connect(at, reactor::Reactor::current().now() + std::chrono::seconds(5));
    CHECK(stream.has_value());
    co_return std::make_unique<RawHost>(std::move(*stream));
}

void RawHost::on_ready(reactor::Readiness readiness) {
    if (readiness.writable) {
        push_out();
    }
    if (!deaf) {
        take_in();
    }
    changed_.notify();
}

void RawHost::take_in() {
    std::vector<std::byte> part(65536);
    while (!ended_) {
        const core::Segment into{part.data(), part.size()};
        const std::ptrdiff_t received = stream_->recv(std::span(&into, 1));
        if (received == -EAGAIN) {
            return;
        }
        if (received <= 0) {
            ended_ = true;
            return;
        }
        in_.insert(in_.end(), part.begin(), part.begin() + received);
    }
}

void RawHost::send(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    push_out();
}

void RawHost::push_out() {
    while (!out_.empty()) {
        const core::Segment from{out_.data(), out_.size()};
        const std::ptrdiff_t taken = stream_->send(std::span(&from, 1));
        if (taken == -EAGAIN) {
            return;
        }
        if (taken < 0) {
            out_.clear();
            return;
        }
        out_.erase(out_.begin(), out_.begin() + taken);
    }
}

bool RawHost::pop_pdu(RawPdu& pdu) {
    if (in_.size() < sizeof(tcp::CommonHeader)) {
        return false;
    }
    std::memcpy(&pdu.header, in_.data(), sizeof(pdu.header));
    const std::size_t size = pdu.header.plen;
    CHECK(size >= sizeof(tcp::CommonHeader));
    if (in_.size() < size) {
        return false;
    }
    pdu.bytes.assign(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(size));
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(size));
    return true;
}

Task<std::optional<RawPdu>> RawHost::next(core::Nanos limit) {
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    RawPdu pdu;
    while (!pop_pdu(pdu)) {
        if (ended_ || reactor::Reactor::current().now() >= deadline) {
            co_return std::nullopt;
        }
        co_await changed_.wait_until(deadline);
    }
    co_return pdu;
}

Task<bool> RawHost::wait_end(core::Nanos limit) {
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    while (!ended_ && reactor::Reactor::current().now() < deadline) {
        co_await changed_.wait_until(deadline);
    }
    co_return ended_;
}

Task<std::uint16_t> RawHost::wait_termination() {
    while (true) {
        const auto pdu = co_await next();
        if (!pdu) {
            co_return 0;
        }
        if (pdu->type() == tcp::PduType::C2hTermReq) {
            const auto term = pdu->as<tcp::TermReq>();
            termination_information = term.fei;
            const bool end = co_await wait_end();
            co_return end ? term.fes.get() : std::uint16_t{0};
        }
    }
}

Task<bool> RawHost::handshake(std::uint8_t dgst, std::uint8_t hpda) {
    tcp::IcReq request{};
    request.header = {static_cast<std::uint8_t>(tcp::PduType::IcReq), 0, 128, 0, 128U};
    request.dgst = dgst;
    request.hpda = hpda;
    send_struct(request);
    const auto pdu = co_await next();
    if (!pdu || pdu->type() != tcp::PduType::IcResp || pdu->bytes.size() != sizeof(tcp::IcResp)) {
        co_return false;
    }
    ic_resp = pdu->as<tcp::IcResp>();
    header_digest = (ic_resp.dgst & tcp::kDgstHeader) != 0;
    data_digest = (ic_resp.dgst & tcp::kDgstData) != 0;
    co_return ic_resp.dgst == dgst;
}

std::vector<std::byte> RawHost::capsule(const spec::Command& command,
                                        std::span<const std::byte> data) const {
    tcp::CapsuleCmd pdu{};
    const bool ddgst = data_digest && !data.empty();
    const std::size_t block = sizeof(pdu) + (header_digest ? 4U : 0U);
    pdu.header.type = static_cast<std::uint8_t>(tcp::PduType::CapsuleCmd);
    pdu.header.flags = static_cast<std::uint8_t>((header_digest ? tcp::kHeaderDigest : 0) |
                                                 (ddgst ? tcp::kDataDigest : 0));
    pdu.header.hlen = sizeof(pdu);
    pdu.header.pdo = data.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(block);
    pdu.header.plen = static_cast<std::uint32_t>(block + data.size() + (ddgst ? 4U : 0U));
    pdu.command = command;
    return sealed(core::as_bytes_of(pdu), header_digest, data, ddgst);
}

std::vector<std::byte> RawHost::h2c_data(std::uint16_t cccid,
                                         std::uint16_t ttag,
                                         std::uint32_t offset,
                                         std::span<const std::byte> data,
                                         bool last) const {
    tcp::DataPdu pdu{};
    const std::size_t block = sizeof(pdu) + (header_digest ? 4U : 0U);
    pdu.header.type = static_cast<std::uint8_t>(tcp::PduType::H2cData);
    pdu.header.flags = static_cast<std::uint8_t>((header_digest ? tcp::kHeaderDigest : 0) |
                                                 (data_digest ? tcp::kDataDigest : 0) |
                                                 (last ? tcp::kLastPdu : 0));
    pdu.header.hlen = sizeof(pdu);
    pdu.header.pdo = static_cast<std::uint8_t>(block);
    pdu.header.plen = static_cast<std::uint32_t>(block + data.size() + (data_digest ? 4U : 0U));
    pdu.cccid = cccid;
    pdu.ttag = ttag;
    pdu.datao = offset;
    pdu.datal = static_cast<std::uint32_t>(data.size());
    return sealed(core::as_bytes_of(pdu), header_digest, data, data_digest);
}

spec::Command RawHost::connect_command(const ConnectOptions& options) {
    spec::ConnectCommand connect{};
    connect.sgl.length = sizeof(spec::ConnectData);
    connect.sgl.identifier = spec::kSglInCapsule;
    connect.record_format = options.record_format;
    connect.qid = options.qid;
    connect.sqsize = options.sqsize;
    connect.attributes = options.attributes;
    connect.keep_alive_ms = options.keep_alive_ms;
    spec::Command command;
    std::memcpy(&command, &connect, sizeof(command));
    return command;
}

spec::ConnectData RawHost::connect_data(const ConnectOptions& options) {
    spec::ConnectData data{};
    std::ranges::fill(data.host_id, options.host_id);
    data.cntlid = options.cntlid;
    spec::set_field_text(data.subnqn, options.subnqn, '\0');
    spec::set_field_text(data.hostnqn, options.hostnqn, '\0');
    return data;
}

Task<Outcome> RawHost::connect(ConnectOptions options) {
    const spec::ConnectData data = connect_data(options);
    Outcome outcome = co_await perform(connect_command(options), core::as_bytes_of(data));
    if (outcome.status == 0) {
        cntlid = static_cast<std::uint16_t>(outcome.completion.dw0 & 0xffffU);
    }
    co_return outcome;
}

Task<Outcome> RawHost::perform(spec::Command command, std::span<const std::byte> out) {
    command.cid = next_cid();
    const bool in_capsule = command.sgl.identifier == spec::kSglInCapsule && !out.empty();
    send(capsule(command, in_capsule ? out : std::span<const std::byte>()));
    Outcome outcome = co_await finish(command.cid, out);
    co_return outcome;
}

Task<Outcome> RawHost::finish(std::uint16_t cid, std::span<const std::byte> out) {
    Outcome outcome;
    while (true) {
        const auto pdu = co_await next();
        if (!pdu) {
            co_return outcome;
        }
        if (pdu->type() == tcp::PduType::R2t) {
            const auto r2t = pdu->as<tcp::R2t>();
            ++outcome.r2ts;
            // In parts, as a host with a small MAXH2CDATA would.
            constexpr std::uint32_t kPart = 65536;
            for (std::uint32_t at = 0; at < r2t.r2tl; at += kPart) {
                const std::uint32_t part = std::min(kPart, r2t.r2tl - at);
                send(h2c_data(r2t.cccid, r2t.ttag, r2t.r2to + at, out.subspan(r2t.r2to + at, part),
                              at + part == r2t.r2tl));
            }
        } else if (pdu->type() == tcp::PduType::C2hData) {
            const auto data = pdu->as<tcp::DataPdu>();
            CHECK(data.cccid == cid && data.datao == outcome.data.size());
            const auto bytes = pdu->data();
            CHECK(data.datal == bytes.size());
            if (data_digest) {
                CHECK(tcp::load_digest(std::span(pdu->bytes).last(4)) == core::crc32c(bytes));
            }
            outcome.data.insert(outcome.data.end(), bytes.begin(), bytes.end());
            if ((pdu->header.flags & tcp::kSuccess) != 0) {
                outcome.success_flag = true;
                outcome.status = 0;
                co_return outcome;
            }
        } else if (pdu->type() == tcp::PduType::CapsuleResp) {
            const auto completion = pdu->as<tcp::CapsuleResp>().completion;
            if (completion.cid != cid) {
                others.push_back(completion);
                continue;
            }
            outcome.completion = completion;
            outcome.status = completion.status();
            co_return outcome;
        } else {
            co_return outcome;
        }
    }
}

Task<Outcome> RawHost::property_set(std::uint32_t offset, std::uint64_t value) {
    spec::PropertyCommand property{};
    property.fabrics_type = static_cast<std::uint8_t>(spec::FabricsType::PropertySet);
    property.offset = offset;
    property.value = value;
    spec::Command command;
    std::memcpy(&command, &property, sizeof(command));
    Outcome outcome = co_await perform(command);
    co_return outcome;
}

Task<std::uint64_t> RawHost::property_get(std::uint32_t offset, bool wide) {
    spec::PropertyCommand property{};
    property.fabrics_type = static_cast<std::uint8_t>(spec::FabricsType::PropertyGet);
    property.attributes = wide ? spec::kProperty8Bytes : spec::kProperty4Bytes;
    property.offset = offset;
    spec::Command command;
    std::memcpy(&command, &property, sizeof(command));
    const Outcome outcome = co_await perform(command);
    CHECK(outcome.status == 0);
    co_return outcome.completion.dw0 | (std::uint64_t{outcome.completion.dw1} << 32U);
}

Task<bool> RawHost::enable() {
    const Outcome set =
        co_await property_set(spec::kPropertyCc, spec::cc::kNvmEntrySizes | spec::cc::kEnable);
    const std::uint64_t csts = co_await property_get(spec::kPropertyCsts);
    co_return set.status == 0 && csts == spec::csts::kReady;
}

Task<Outcome> RawHost::identify(std::uint8_t cns, std::uint32_t nsid) {
    spec::Command command = make_command(static_cast<std::uint8_t>(spec::AdminOpcode::Identify),
                                         nsid, spec::kIdentifyBytes, false);
    command.cdw10 = cns;
    Outcome outcome = co_await perform(command);
    co_return outcome;
}

Task<Outcome> RawHost::log_page(spec::LogPage page, std::uint64_t offset, std::uint32_t bytes) {
    spec::Command command = make_command(static_cast<std::uint8_t>(spec::AdminOpcode::GetLogPage),
                                         spec::kBroadcastNsid, bytes, false);
    spec::set_log_page_range(command, page, offset, bytes);
    Outcome outcome = co_await perform(command);
    co_return outcome;
}

Task<Outcome> RawHost::set_feature(std::uint8_t feature, std::uint32_t value) {
    spec::Command command =
        make_command(static_cast<std::uint8_t>(spec::AdminOpcode::SetFeatures), 0, 0, false);
    command.cdw10 = feature;
    command.cdw11 = value;
    Outcome outcome = co_await perform(command);
    co_return outcome;
}

}  // namespace remora::test
