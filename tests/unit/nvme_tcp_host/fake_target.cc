// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/nvme_tcp_host/fake_target.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "core/crc32c.h"
#include "nvme/tcp/digest.h"

namespace remora::test {

using nvme::spec::Command;
using nvme::spec::Completion;
using nvme::tcp::CommonHeader;
using nvme::tcp::PduType;

namespace {

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
    const auto bytes = core::as_bytes_of(value);
    return {bytes.begin(), bytes.end()};
}

}  // namespace

FakeTarget::FakeTarget(reactor::Reactor& reactor)
    : reactor_(reactor), endpoint_(reactor::Endpoint::tcp("127.0.0.1", 0)) {
    revive();
}

FakeTarget::~FakeTarget() = default;

void FakeTarget::revive() {
    auto acceptor = reactor_.io().listen(endpoint_, *this);
    CHECK(acceptor.has_value());
    acceptor_ = std::move(*acceptor);
    endpoint_ = acceptor_->local();
}

void FakeTarget::die() {
    acceptor_.reset();
    break_connections();
}

void FakeTarget::break_connections() {
    for (const auto& connection : connections_) {
        connection->close();
    }
}

FakeNamespace& FakeTarget::add_namespace(std::uint32_t nsid,
                                         std::uint64_t blocks,
                                         std::uint8_t block_shift) {
    FakeNamespace& space = namespaces[nsid];
    space.uuid.bytes.fill(static_cast<unsigned char>(nsid));
    space.block_count = blocks;
    space.block_shift = block_shift;
    space.data.assign(blocks << block_shift, std::byte{0});
    return space;
}

void FakeTarget::tell(std::uint32_t event) {
    for (const auto& connection : connections_) {
        if (connection->event_waits_ && !connection->closed()) {
            connection->event_waits_ = false;
            connection->respond(connection->event_cid_, 0, event);
        }
    }
}

void FakeTarget::set_ana(std::uint8_t state) {
    cmic = 1U << 3U;
    ana_log.assign(48, std::byte{0});
    ana_log[8] = std::byte{1};   // one group
    ana_log[16] = std::byte{1};  // its number
    ana_log[32] = std::byte{state};
    for (auto& [nsid, space] : namespaces) {
        space.ana_group = 1;
    }
}

std::vector<FakeConnection*> FakeTarget::connections() const {
    std::vector<FakeConnection*> out;
    for (const auto& connection : connections_) {
        if (!connection->closed()) {
            out.push_back(connection.get());
        }
    }
    return out;
}

void FakeTarget::on_accept(reactor::Handle connection) {
    ++connections_made;
    auto stream = reactor_.io().adopt_stream(connection);
    CHECK(stream.has_value());
    connections_.push_back(std::make_unique<FakeConnection>(*this, std::move(*stream)));
}

FakeConnection::FakeConnection(FakeTarget& target, std::unique_ptr<reactor::Stream> stream)
    : target_(target), stream_(std::move(stream)) {
    stream_->set_handler(this);
}

void FakeConnection::close() {
    if (stream_) {
        stream_->set_handler(nullptr);
        // Not from within its own handler.
        auto* leaving = stream_.release();
        target_.reactor_.post_function([leaving] { delete leaving; });
    }
}

void FakeConnection::on_ready(reactor::Readiness /*readiness*/) {
    flush();
    std::vector<std::byte> chunk(65536);
    while (stream_) {
        const core::Segment segment{chunk.data(), chunk.size()};
        const std::ptrdiff_t got = stream_->recv(std::span(&segment, 1));
        if (got == -EAGAIN) {
            break;
        }
        if (got == 0 && target_.never_closes) {
            return;
        }
        if (got <= 0) {
            close();
            return;
        }
        in_.insert(in_.end(), chunk.begin(), chunk.begin() + got);
    }
    while (stream_ && in_.size() >= sizeof(CommonHeader)) {
        const std::uint32_t size = load<CommonHeader>(in_).plen;
        ASSERT_GE(size, sizeof(CommonHeader));
        if (in_.size() < size) {
            break;
        }
        const std::vector<std::byte> pdu(in_.begin(), in_.begin() + size);
        in_.erase(in_.begin(), in_.begin() + size);
        take(pdu);
    }
}

void FakeConnection::send(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    flush();
}

void FakeConnection::dribble_on() {
    if (stream_ && !out_.empty()) {
        const core::Segment one{out_.data(), 1};
        if (stream_->send(std::span(&one, 1)) == 1) {
            out_.erase(out_.begin());
        }
        target_.reactor_.post_function([this] { dribble_on(); });
    } else {
        dribbling_ = false;
    }
}

void FakeConnection::flush() {
    if (dribble) {
        if (!std::exchange(dribbling_, true)) {
            dribble_on();
        }
        return;
    }
    while (stream_ && !out_.empty()) {
        const core::Segment segment{out_.data(), out_.size()};
        const std::ptrdiff_t sent = stream_->send(std::span(&segment, 1));
        if (sent <= 0) {
            return;
        }
        out_.erase(out_.begin(), out_.begin() + sent);
    }
}

void FakeConnection::take(std::span<const std::byte> pdu) {
    const auto header = load<CommonHeader>(pdu);
    const auto type = static_cast<PduType>(header.type);
    const bool plain = type == PduType::IcReq || type == PduType::H2cTermReq;
    if (!plain && (digests_ & nvme::tcp::kDgstHeader) != 0) {
        EXPECT_NE(header.flags & nvme::tcp::kHeaderDigest, 0);
        EXPECT_EQ(nvme::tcp::load_digest(pdu.subspan(header.hlen)),
                  core::crc32c(pdu.first(header.hlen)));
    }
    if (target_.on_pdu && target_.on_pdu(*this, header, pdu)) {
        return;
    }
    if (type == PduType::IcReq) {
        on_ic_req(load<nvme::tcp::IcReq>(pdu));
    } else if (type == PduType::H2cTermReq) {
        target_.term_requests.push_back(load<nvme::tcp::TermReq>(pdu));
        close();
    } else if (type == PduType::CapsuleCmd) {
        on_command(pdu);
    } else if (type == PduType::H2cData) {
        on_h2c_data(pdu);
    } else {
        ADD_FAILURE() << "PDU type " << int{header.type};
    }
}

void FakeConnection::on_ic_req(const nvme::tcp::IcReq& request) {
    nvme::tcp::IcResp response;
    response.header.type = static_cast<std::uint8_t>(PduType::IcResp);
    response.header.hlen = sizeof(response);
    response.header.plen = std::uint32_t{sizeof(response)};
    response.dgst = static_cast<std::uint8_t>(request.dgst & target_.digests);
    response.cpda = target_.cpda;
    response.maxh2cdata = target_.maxh2cdata;
    digests_ = response.dgst;
    send(core::as_bytes_of(response));
}

void FakeConnection::on_command(std::span<const std::byte> pdu) {
    const auto command = load<nvme::tcp::CapsuleCmd>(pdu).command;
    const auto data = data_of(pdu);
    if (command.opcode == nvme::spec::kFabricsOpcode) {
        on_fabrics(command, data);
    } else if (qid_ == 0) {
        on_admin(command, data);
    } else {
        target_.io_log.push_back(command);
        if (!target_.on_io || !target_.on_io(*this, command, data)) {
            serve_io(command, data);
        }
    }
}

void FakeConnection::on_fabrics(const Command& command, std::span<const std::byte> data) {
    using nvme::spec::FabricsType;
    const auto type = static_cast<FabricsType>(nvme::spec::fabrics_type(command));
    if (type == FabricsType::Connect) {
        const auto connect = std::bit_cast<nvme::spec::ConnectCommand>(command);
        const auto who = load<nvme::spec::ConnectData>(data);
        qid_ = connect.qid;
        ++(qid_ == 0 ? target_.connects : target_.io_connects);
        const auto nqn = nvme::spec::field_text(who.subnqn);
        EXPECT_TRUE(nqn == target_.subnqn || nqn == nvme::spec::kDiscoveryNqn) << nqn;
        EXPECT_EQ(who.cntlid, qid_ == 0 ? 0xffff : 7);
        nvme::tcp::CapsuleResp response;
        response.header.type = static_cast<std::uint8_t>(PduType::CapsuleResp);
        response.completion.cid = command.cid;
        response.completion.dw0 = target_.connect_status != 0 ? target_.connect_dw0 : 7U;
        response.completion.set_status(target_.connect_status);
        response.completion.sqhd =
            target_.flow_control_off ? nvme::spec::kFlowControlOff : std::uint16_t{1};
        send_pdu(bytes_of(response), {}, 0);
        return;
    }
    const auto property = std::bit_cast<nvme::spec::PropertyCommand>(command);
    if (type == FabricsType::PropertySet) {
        cc_ = static_cast<std::uint32_t>(property.value.get());
        respond(command.cid, 0);
        return;
    }
    ASSERT_EQ(type, FabricsType::PropertyGet);
    std::uint64_t value = 0;
    if (property.offset == nvme::spec::kPropertyCap) {
        value = 1023 | nvme::spec::cap::kNvmCommandSet | (std::uint64_t{2} << 24U);
    } else if (property.offset == nvme::spec::kPropertyVs) {
        value = nvme::spec::kVersion14;
    } else if (property.offset == nvme::spec::kPropertyCsts) {
        value = cc_ & nvme::spec::cc::kEnable;
        if (target_.never_ready_reads > 0) {
            --target_.never_ready_reads;
            value = 0;
        }
    }
    respond(command.cid, 0, static_cast<std::uint32_t>(value),
            static_cast<std::uint32_t>(value >> 32U));
}

void FakeConnection::on_admin(const Command& command, std::span<const std::byte> /*data*/) {
    using nvme::spec::AdminOpcode;
    switch (static_cast<AdminOpcode>(command.opcode)) {
        case AdminOpcode::Identify:
            identify(command);
            return;
        case AdminOpcode::SetFeatures: {
            if ((command.cdw10.get() & 0xffU) == 0x0b) {
                target_.event_mask = command.cdw11;
            }
            const std::uint32_t granted =
                std::min((command.cdw11.get() & 0xffffU) + 1, target_.queues);
            respond(command.cid, 0, (granted - 1) | ((granted - 1) << 16U));
            return;
        }
        case AdminOpcode::KeepAlive:
            ++target_.keep_alives;
            respond(command.cid, 0);
            return;
        case AdminOpcode::AsyncEventRequest:
            event_waits_ = true;
            event_cid_ = command.cid;
            return;
        case AdminOpcode::GetLogPage:
            read_log(command);
            return;
        case AdminOpcode::Abort:
        case AdminOpcode::GetFeatures:
            break;
    }
    respond(command.cid, nvme::spec::status_field(nvme::spec::StatusCode::InvalidOpcode, true));
}

void FakeConnection::identify(const Command& command) {
    using nvme::spec::Cns;
    std::vector<std::byte> page(nvme::spec::kIdentifyBytes);
    const auto cns = static_cast<Cns>(command.cdw10.get() & 0xffU);
    const auto found = target_.namespaces.find(command.nsid);
    if (cns == Cns::Controller) {
        nvme::spec::IdentifyController data;
        data.mdts = target_.mdts;
        data.cmic = target_.cmic;
        data.anatt = target_.anatt;
        data.anagrpmax = target_.ana_groups;
        data.nanagrpid = target_.ana_groups;
        data.oaes = nvme::spec::kEventNamespaceAttribute | (target_.cmic != 0 ? 1U << 11U : 0U);
        data.cntrltype = nvme::spec::kControllerTypeIo;
        data.kas = 10;
        data.nn = 1024;
        data.oncs = nvme::spec::kOncsDatasetManagement | nvme::spec::kOncsWriteZeroes;
        data.vwc = 1;
        data.ioccsz = (64 + target_.in_capsule) / 16;
        nvme::spec::set_field_text(data.subnqn, target_.subnqn, '\0');
        page = bytes_of(data);
    } else if (cns == Cns::ActiveNamespaces) {
        std::size_t at = 0;
        for (const auto& [nsid, space] : target_.namespaces) {
            if (nsid > command.nsid && at < 1024) {
                const core::le32 value(nsid);
                std::memcpy(page.data() + 4 * at++, &value, 4);
            }
        }
    } else if (cns == Cns::Namespace && found != target_.namespaces.end()) {
        nvme::spec::IdentifyNamespace data;
        data.nsze = found->second.block_count;
        data.ncap = data.nsze;
        data.dlfeat = found->second.dlfeat;
        data.lbaf[0].lba_shift = found->second.block_shift;
        std::memcpy(data.nguid, found->second.nguid.data(), 16);
        data.anagrpid = found->second.ana_group;
        page = bytes_of(data);
    } else if (cns == Cns::NamespaceDescriptors && found != target_.namespaces.end()) {
        if (!found->second.uuid.is_nil()) {
            const nvme::spec::NamespaceDescriptor head{nvme::spec::kNidUuid, 16, {}};
            std::memcpy(page.data(), &head, 4);
            std::memcpy(page.data() + 4, found->second.uuid.bytes.data(), 16);
        }
    } else {
        respond(command.cid, nvme::spec::status_field(nvme::spec::StatusCode::InvalidNamespace));
        return;
    }
    answer_data(command, page);
}

void FakeConnection::read_log(const Command& command) {
    std::vector<std::byte> all;
    if ((command.cdw10 & 0xffU) == static_cast<std::uint32_t>(nvme::spec::LogPage::Discovery)) {
        ++target_.log_reads;
        nvme::spec::DiscoveryLogHeader header;
        header.generation = target_.log_generation;
        header.record_count = target_.log.size();
        all = bytes_of(header);
        for (const auto& entry : target_.log) {
            const auto bytes = core::as_bytes_of(entry);
            all.insert(all.end(), bytes.begin(), bytes.end());
        }
    }
    if ((command.cdw10 & 0xffU) == 0x0c) {
        ++target_.ana_reads;
        EXPECT_NE(command.cdw10 & (1U << 8U), 0U);  // groups only
        all = target_.ana_log;
    }
    const std::size_t offset = nvme::spec::log_page_offset(command);
    const std::size_t bytes = nvme::spec::log_page_bytes(command);
    all.resize(std::max(all.size(), offset + bytes));
    answer_data(command, std::span<const std::byte>(all).subspan(offset, bytes));
}

/// All of an answer's data, in C2HData of c2h_bytes, then its success.
void FakeConnection::answer_data(const Command& command, std::span<const std::byte> data) {
    ASSERT_EQ(command.sgl.length, data.size());
    std::uint32_t offset = 0;
    while (offset < data.size()) {
        const auto size = std::min<std::size_t>(target_.c2h_bytes, data.size() - offset);
        const bool last = offset + size == data.size();
        std::uint8_t flags = last ? nvme::tcp::kLastPdu : std::uint8_t{0};
        if (last && target_.flow_control_off) {
            flags |= nvme::tcp::kSuccess;
        }
        send_data(command.cid, offset, data.subspan(offset, size), flags);
        offset += static_cast<std::uint32_t>(size);
    }
    if (!target_.flow_control_off) {
        respond(command.cid, 0);
    }
}

void FakeConnection::respond(std::uint16_t cid,
                             std::uint16_t status,
                             std::uint32_t dw0,
                             std::uint32_t dw1) {
    nvme::tcp::CapsuleResp response;
    response.header.type = static_cast<std::uint8_t>(PduType::CapsuleResp);
    response.completion.cid = cid;
    response.completion.dw0 = dw0;
    response.completion.dw1 = dw1;
    response.completion.set_status(status);
    send_pdu(bytes_of(response), {}, 0);
}

void FakeConnection::send_data(std::uint16_t cid,
                               std::uint32_t offset,
                               std::span<const std::byte> data,
                               std::uint8_t flags) {
    nvme::tcp::DataPdu pdu;
    pdu.header.type = static_cast<std::uint8_t>(PduType::C2hData);
    pdu.cccid = cid;
    pdu.datao = offset;
    pdu.datal = static_cast<std::uint32_t>(data.size());
    send_pdu(bytes_of(pdu), data, flags);
}

void FakeConnection::send_r2t(std::uint16_t cid,
                              std::uint16_t ttag,
                              std::uint32_t offset,
                              std::uint32_t bytes) {
    nvme::tcp::R2t pdu;
    pdu.header.type = static_cast<std::uint8_t>(PduType::R2t);
    pdu.cccid = cid;
    pdu.ttag = ttag;
    pdu.r2to = offset;
    pdu.r2tl = bytes;
    send_pdu(bytes_of(pdu), {}, 0);
}

void FakeConnection::send_pdu(std::vector<std::byte> header,
                              std::span<const std::byte> data,
                              std::uint8_t flags) {
    const bool header_digest = (digests_ & nvme::tcp::kDgstHeader) != 0;
    const bool data_digest = (digests_ & nvme::tcp::kDgstData) != 0 && !data.empty();
    auto common = load<CommonHeader>(header);
    const std::size_t hlen = header.size();
    const std::size_t block = hlen + (header_digest ? 4 : 0);
    common.hlen = static_cast<std::uint8_t>(hlen);
    common.flags =
        static_cast<std::uint8_t>(flags | (header_digest ? nvme::tcp::kHeaderDigest : 0) |
                                  (data_digest ? nvme::tcp::kDataDigest : 0));
    common.pdo = static_cast<std::uint8_t>(data.empty() ? 0 : block);
    common.plen = static_cast<std::uint32_t>(block + data.size() + (data_digest ? 4 : 0));
    std::memcpy(header.data(), &common, sizeof(common));
    if (header_digest) {
        const std::uint32_t spoil = std::exchange(spoil_header_digest, false) ? 1 : 0;
        const core::le32 digest(core::crc32c(header) ^ spoil);
        const auto bytes = core::as_bytes_of(digest);
        header.insert(header.end(), bytes.begin(), bytes.end());
    }
    header.insert(header.end(), data.begin(), data.end());
    if (data_digest) {
        const std::uint32_t spoil = std::exchange(spoil_data_digest, false) ? 1 : 0;
        const core::le32 digest(core::crc32c(data) ^ spoil);
        const auto bytes = core::as_bytes_of(digest);
        header.insert(header.end(), bytes.begin(), bytes.end());
    }
    send(header);
}

}  // namespace remora::test
