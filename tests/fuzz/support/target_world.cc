// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/support/target_world.h"

#include <array>
#include <utility>

#include "block/reactor_context.h"

namespace remora::fuzz {

using frontends::nvme_tcp::NamespaceOptions;
using frontends::nvme_tcp::SubsystemOptions;
using frontends::nvme_tcp::Target;
using frontends::nvme_tcp::TargetLimits;
using nvme::tcp::PduType;
using reactor::Task;

nvme::tcp::IcReq make_ic_req(std::uint8_t dgst, std::uint8_t hpda) {
    nvme::tcp::IcReq request;
    request.header.type = static_cast<std::uint8_t>(PduType::IcReq);
    request.header.hlen = sizeof(request);
    request.header.plen = static_cast<std::uint32_t>(sizeof(request));
    request.hpda = hpda;
    request.dgst = dgst;
    return request;
}

nvme::spec::ConnectCommand make_connect(std::uint16_t qid,
                                        std::uint16_t sqsize,
                                        std::uint32_t keep_alive_ms) {
    nvme::spec::ConnectCommand command;
    command.sgl.length = static_cast<std::uint32_t>(sizeof(nvme::spec::ConnectData));
    command.sgl.identifier = nvme::spec::kSglInCapsule;
    command.qid = qid;
    command.sqsize = sqsize;
    command.keep_alive_ms = keep_alive_ms;
    return command;
}

nvme::spec::ConnectData make_connect_data(std::uint16_t cntlid, std::uint8_t host_id) {
    nvme::spec::ConnectData data;
    data.host_id[0] = host_id;
    data.cntlid = cntlid;
    nvme::spec::set_field_text(data.subnqn, kSubsystemNqn, '\0');
    nvme::spec::set_field_text(data.hostnqn, kHostNqn, '\0');
    return data;
}

nvme::spec::PropertyCommand make_property_set(std::uint32_t offset, std::uint64_t value) {
    nvme::spec::PropertyCommand command;
    command.flags = nvme::spec::kFlagsSgl;
    command.fabrics_type = static_cast<std::uint8_t>(nvme::spec::FabricsType::PropertySet);
    command.offset = offset;
    command.value = value;
    return command;
}

void RawTargetHost::send(std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        return;
    }
    const core::Segment segment{const_cast<std::byte*>(bytes.data()), bytes.size()};
    const std::ptrdiff_t taken = stream_->send(std::span(&segment, 1));
    if (taken < static_cast<std::ptrdiff_t>(bytes.size())) {
        raw = true;  // the window is full or the target has gone
    }
}

void RawTargetHost::send_ic_req(std::uint8_t hpda) {
    send(core::as_bytes_of(make_ic_req(dgst_, hpda)));
}

void RawTargetHost::send_capsule(std::span<const std::byte> command,
                                 std::span<const std::byte> data) {
    nvme::tcp::CapsuleCmd capsule;
    capsule.header.type = static_cast<std::uint8_t>(PduType::CapsuleCmd);
    CHECK(command.size() == sizeof(capsule.command));
    std::memcpy(&capsule.command, command.data(), command.size());
    ++sent;
    const bool admin_event = capsule.command.opcode ==
                             static_cast<std::uint8_t>(nvme::spec::AdminOpcode::AsyncEventRequest);
    event_requests += admin_event ? 1U : 0U;
    send(make_pdu(core::as_bytes_of(capsule), data, (dgst_ & nvme::tcp::kDgstHeader) != 0,
                  (dgst_ & nvme::tcp::kDgstData) != 0));
}

void RawTargetHost::send_data(nvme::tcp::DataPdu pdu, std::span<const std::byte> data) {
    pdu.header.type = static_cast<std::uint8_t>(PduType::H2cData);
    send(make_pdu(core::as_bytes_of(pdu), data, (dgst_ & nvme::tcp::kDgstHeader) != 0,
                  (dgst_ & nvme::tcp::kDgstData) != 0));
}

void RawTargetHost::listen() {
    std::array<std::byte, 4096> bytes;
    for (;;) {
        const core::Segment segment{bytes.data(), bytes.size()};
        const std::ptrdiff_t got = stream_->recv(std::span(&segment, 1));
        if (got <= 0) {
            ended_ = ended_ || got != -EAGAIN;
            break;
        }
        said_.feed(std::span(bytes).first(static_cast<std::size_t>(got)));
    }
    while (const auto pdu = said_.next()) {
        take(*pdu);
    }
    // A connection that ends by itself has said everything it began to say, unless the peer is
    // dropped for what it owes; so nothing is checked about what is left.
}

void RawTargetHost::take(const Pdu& pdu) {
    CHECK(greeted_ || pdu.frame.type == PduType::IcResp || pdu.frame.type == PduType::C2hTermReq);
    switch (pdu.frame.type) {
        case PduType::IcResp: {
            CHECK(!greeted_);
            greeted_ = true;
            const auto response = pdu.as<nvme::tcp::IcResp>();
            CHECK(nvme::tcp::check_ic_resp(response, nvme::tcp::kDgstHeader | nvme::tcp::kDgstData)
                      .has_value());
            dgst_ = response.dgst;
            said_.rules.header_digest = (dgst_ & nvme::tcp::kDgstHeader) != 0;
            said_.rules.data_digest = (dgst_ & nvme::tcp::kDgstData) != 0;
            break;
        }
        case PduType::CapsuleResp: {
            const auto entry = pdu.as<nvme::tcp::CapsuleResp>().completion;
            ++answered;
            if (!connected_ && entry.status() == 0) {
                connected_ = true;
                cntlid_ = static_cast<std::uint16_t>(entry.dw0.get());
            }
            break;
        }
        case PduType::C2hData:
            answered += (pdu.frame.flags & nvme::tcp::kSuccess) != 0 ? 1U : 0U;
            CHECK(pdu.as<nvme::tcp::DataPdu>().datal == pdu.frame.data_size);
            break;
        case PduType::R2t:
            CHECK(connected_ && pdu.as<nvme::tcp::R2t>().r2tl != 0);
            asked.push_back(pdu.as<nvme::tcp::R2t>());
            break;
        case PduType::C2hTermReq:
            raw = true;
            break;
        case PduType::IcReq:
        case PduType::H2cTermReq:
        case PduType::CapsuleCmd:
        case PduType::H2cData:
            CHECK(false);  // the decoder lets none of them through to a host
    }
    CHECK(raw || answered <= sent);
}

TargetLimits TargetWorld::small_limits() {
    TargetLimits limits;
    limits.connections = 8;
    limits.controllers = 3;
    limits.io_queues = 4;
    limits.queue_depth = 16;
    limits.in_capsule_bytes = 4096;
    limits.max_h2c_data = 8192;
    limits.transfer_shift = 3;
    limits.drain = std::chrono::milliseconds(100);
    return limits;
}

TargetWorld::TargetWorld(TargetLimits limits) {
    world.run([this, &limits]() -> Task<> {
        const block::ReactorContext context{world.reactor, World::pool()};
        target = std::make_unique<Target>(std::span(&context, 1), world.reactor, limits);
        target->set_reservation_keeper(&keeper);
        target->set_uncorrectable_keeper(&mark_keeper);
        SubsystemOptions subsystem;
        subsystem.nqn = kSubsystemNqn;
        const auto made = co_await target->create_subsystem(subsystem);
        CHECK(made.has_value());
        const auto listening =
            co_await target->add_listener(kSubsystemNqn, reactor::Endpoint::tcp("127.0.0.1", 4420));
        CHECK(listening.has_value());
        at = *listening;
        NamespaceOptions options;
        options.device = &device;
        const auto nsid = co_await target->add_namespace(kSubsystemNqn, options);
        CHECK(nsid.has_value());
    });
}

TargetWorld::~TargetWorld() {
    if (device.hold) {
        world.on_reactor([this] { device.release(); });
    }
    world.run([this]() -> Task<> { co_await target->stop(); });
    target.reset();
    CHECK(device.open_channels == 0);
}

std::unique_ptr<RawTargetHost> TargetWorld::dial(std::uint8_t dgst) {
    auto stream = world.io.dial(at);
    CHECK(stream != nullptr);
    return std::make_unique<RawTargetHost>(std::move(stream), dgst);
}

std::unique_ptr<RawTargetHost> TargetWorld::admin_queue(std::uint8_t dgst, std::uint8_t hpda) {
    auto host = dial(dgst);
    host->send_ic_req(hpda);
    world.settle();
    host->send_capsule(core::as_bytes_of(make_connect(0, 15, 0)),
                       core::as_bytes_of(make_connect_data(nvme::spec::kDynamicController, 1)));
    world.settle();
    host->send_capsule(core::as_bytes_of(make_property_set(nvme::spec::kPropertyCc, kEnabledCc)),
                       {});
    world.settle();
    host->listen();
    CHECK(host->connected() && host->answered == 2);
    return host;
}

std::unique_ptr<RawTargetHost> TargetWorld::io_queue(std::uint16_t cntlid,
                                                     std::uint16_t qid,
                                                     std::uint8_t dgst,
                                                     std::uint8_t hpda) {
    auto host = dial(dgst);
    host->send_ic_req(hpda);
    world.settle();
    host->send_capsule(core::as_bytes_of(make_connect(qid, 15, 0)),
                       core::as_bytes_of(make_connect_data(cntlid, 1)));
    world.settle();
    host->listen();
    CHECK(host->connected());
    return host;
}

}  // namespace remora::fuzz
