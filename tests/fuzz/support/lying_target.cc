// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/support/lying_target.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/byte_reader.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/log_page.h"
#include "tests/fuzz/support/fake_io.h"

namespace remora::fuzz {

using nvme::spec::AdminOpcode;
using nvme::spec::Cns;
using nvme::spec::Command;
using nvme::spec::FabricsType;
using nvme::tcp::PduType;

namespace {

constexpr unsigned kShift = 9;
constexpr std::size_t kMostPieces = 12;

template <typename T>
std::vector<std::byte> page_of(const T& value) {
    const auto bytes = core::as_bytes_of(value);
    return {bytes.begin(), bytes.end()};
}

}  // namespace

Link::Link(LyingTarget& target, std::unique_ptr<reactor::Stream> stream)
    : target_(target), stream_(std::move(stream)) {
    stream_->set_handler(this);
}

void Link::send(std::span<const std::byte> bytes) {
    // Pieces are bounded in number: a long send in short ones would take its time only.
    const std::size_t piece =
        target_.piece == 0 ? bytes.size() : std::max(target_.piece, bytes.size() / kMostPieces);
    while (!bytes.empty() && !ended_) {
        const auto run = bytes.first(std::min(piece, bytes.size()));
        const core::Segment segment{const_cast<std::byte*>(run.data()), run.size()};
        const std::ptrdiff_t taken = stream_->send(std::span(&segment, 1));
        if (taken <= 0) {
            end(true);
            return;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(taken));
    }
}

void Link::send_pdu(std::span<const std::byte> header, std::span<const std::byte> data) {
    const bool header_digest = (digests_ & nvme::tcp::kDgstHeader) != 0;
    const bool data_digest = (digests_ & nvme::tcp::kDgstData) != 0;
    auto pdu = make_pdu(header, data, header_digest, data_digest);
    if (header_digest && std::exchange(spoil_header, false)) {
        pdu[header.size()] ^= std::byte{1};
    }
    if (data_digest && !data.empty() && std::exchange(spoil_data, false)) {
        pdu.back() ^= std::byte{1};
    }
    send(pdu);
}

void Link::respond(std::uint16_t cid, std::uint16_t status, std::uint64_t value) {
    nvme::tcp::CapsuleResp response;
    response.header.type = static_cast<std::uint8_t>(PduType::CapsuleResp);
    response.completion.cid = cid;
    response.completion.dw0 = static_cast<std::uint32_t>(value);
    response.completion.dw1 = static_cast<std::uint32_t>(value >> 32U);
    response.completion.set_status(status & 0x7fffU);
    send_pdu(core::as_bytes_of(response), {});
}

void Link::send_data(std::uint16_t cid,
                     std::uint32_t offset,
                     std::span<const std::byte> data,
                     std::uint8_t flags) {
    nvme::tcp::DataPdu pdu;
    pdu.header.type = static_cast<std::uint8_t>(PduType::C2hData);
    pdu.header.flags = flags & (nvme::tcp::kLastPdu | nvme::tcp::kSuccess);
    pdu.cccid = cid;
    pdu.datao = offset;
    pdu.datal = static_cast<std::uint32_t>(data.size());
    send_pdu(core::as_bytes_of(pdu), data);
}

void Link::send_r2t(std::uint16_t cid, std::uint32_t offset, std::uint32_t bytes) {
    nvme::tcp::R2t pdu;
    pdu.header.type = static_cast<std::uint8_t>(PduType::R2t);
    pdu.cccid = cid;
    pdu.ttag = static_cast<std::uint16_t>(cid ^ 0x5555U);
    pdu.r2to = offset;
    pdu.r2tl = bytes;
    send_pdu(core::as_bytes_of(pdu), {});
}

void Link::end(bool reset) {
    if (ended_) {
        return;
    }
    ended_ = true;
    stream_->set_handler(nullptr);
    if (reset) {
        FakeIo::break_stream(*stream_);
    } else {
        stream_->shutdown_send();
    }
}

void Link::on_ready(reactor::Readiness /*readiness*/) {
    std::array<std::byte, 4096> bytes;
    while (!ended_) {
        const core::Segment segment{bytes.data(), bytes.size()};
        const std::ptrdiff_t got = stream_->recv(std::span(&segment, 1));
        if (got == -EAGAIN) {
            break;
        }
        if (got <= 0) {
            end(false);
            break;
        }
        said_.feed(std::span(bytes).first(static_cast<std::size_t>(got)));
    }
    while (!ended_) {
        const auto pdu = said_.next();
        if (!pdu) {
            break;
        }
        if (pdu->frame.data_size > 0) {
            CHECK(pdu->frame.header_block % alignment_ == 0 ||
                  pdu->frame.type == PduType::H2cTermReq);
        }
        note_queue(*pdu);
        if (!target_.on_pdu || !target_.on_pdu(*this, *pdu)) {
            take(*pdu);
        }
    }
}

/// Which queue this is, however its Connect is answered.
void Link::note_queue(const Pdu& pdu) {
    if (pdu.frame.type == PduType::CapsuleCmd) {
        const auto command = pdu.as<nvme::tcp::CapsuleCmd>().command;
        if (command.opcode == nvme::spec::kFabricsOpcode &&
            nvme::spec::fabrics_type(command) == static_cast<std::uint8_t>(FabricsType::Connect)) {
            qid_ = std::bit_cast<nvme::spec::ConnectCommand>(command).qid;
        }
    }
}

void Link::take(const Pdu& pdu) {
    if (pdu.frame.type == PduType::IcReq) {
        greet(pdu.as<nvme::tcp::IcReq>());
    } else if (pdu.frame.type == PduType::CapsuleCmd) {
        on_command(pdu.as<nvme::tcp::CapsuleCmd>().command, pdu.data());
    } else if (pdu.frame.type == PduType::H2cData) {
        on_h2c_data(pdu);
    } else {
        end(false);
    }
}

void Link::greet(const nvme::tcp::IcReq& request) {
    nvme::tcp::IcResp response;
    response.header.type = static_cast<std::uint8_t>(PduType::IcResp);
    response.header.hlen = sizeof(response);
    response.header.plen = static_cast<std::uint32_t>(sizeof(response));
    response.dgst = request.dgst & target_.digests;
    response.cpda = target_.cpda;
    response.maxh2cdata = target_.max_h2c;
    send_ic_resp(response);
}

void Link::send_ic_resp(const nvme::tcp::IcResp& response) {
    if (!std::exchange(greeted_, true)) {
        digests_ = response.dgst & 3U;
        alignment_ = (response.cpda + 1U) * std::size_t{4};
        max_h2c_ = response.maxh2cdata;
        said_.rules.header_digest = (digests_ & nvme::tcp::kDgstHeader) != 0;
        said_.rules.data_digest = (digests_ & nvme::tcp::kDgstData) != 0;
    }
    send(core::as_bytes_of(response));
}

void Link::on_command(const Command& command, std::span<const std::byte> data) {
    if (command.opcode == nvme::spec::kFabricsOpcode) {
        on_fabrics(command);
    } else if (qid_ == 0) {
        on_admin(command);
    } else {
        on_io(command, data);
    }
}

void Link::on_fabrics(const Command& command) {
    const auto type = static_cast<FabricsType>(nvme::spec::fabrics_type(command));
    std::uint64_t value = 0;
    if (type == FabricsType::Connect) {
        value = 7;
    } else if (type == FabricsType::PropertySet) {
        cc_ = static_cast<std::uint32_t>(
            std::bit_cast<nvme::spec::PropertyCommand>(command).value.get());
    } else {
        const auto property = std::bit_cast<nvme::spec::PropertyCommand>(command);
        if (property.offset == nvme::spec::kPropertyCap) {
            value = 63 | nvme::spec::cap::kNvmCommandSet | (std::uint64_t{2} << 24U);
        } else if (property.offset == nvme::spec::kPropertyVs) {
            value = 0x20000;
        } else if (property.offset == nvme::spec::kPropertyCsts) {
            const bool down = (cc_ & nvme::spec::cc::kShutdownMask) != 0;
            value = (cc_ & nvme::spec::cc::kEnable) | (down ? nvme::spec::csts::kShutdownDone : 0U);
        }
        if (target_.on_value) {
            target_.on_value(value);
        }
    }
    respond(command.cid, 0, value);
}

void Link::on_admin(const Command& command) {
    const auto opcode = static_cast<AdminOpcode>(command.opcode);
    if (opcode == AdminOpcode::AsyncEventRequest) {
        return;
    }
    std::vector<std::byte> page;
    if (opcode == AdminOpcode::Identify) {
        page = target_.identify(command);
        page.resize(nvme::spec::kIdentifyBytes);
    } else if (opcode == AdminOpcode::GetLogPage) {
        const std::size_t offset = nvme::spec::log_page_offset(command);
        const std::size_t size = nvme::spec::log_page_bytes(command);
        CHECK(size <= 64 * 1024);
        page.resize(size);
        for (std::size_t i = 0; i < size && offset + i < target_.discovery_log.size(); ++i) {
            page[i] = target_.discovery_log[offset + i];
        }
    } else {
        std::uint64_t value = 0;
        if (opcode == AdminOpcode::SetFeatures && target_.on_value) {
            target_.on_value(value);
        }
        respond(command.cid, 0, value);
        return;
    }
    if (target_.on_page) {
        target_.on_page(page);
    }
    CHECK(command.sgl.length == page.size());
    answer_data(command, page);
}

void Link::on_io(const Command& command, std::span<const std::byte> data) {
    const std::uint64_t lba = nvme::spec::starting_lba(command);
    const std::uint64_t blocks = nvme::spec::block_count(command);
    const bool inside = lba < LyingTarget::kBlocks && blocks <= LyingTarget::kBlocks - lba;
    const auto place = inside ? std::span(target_.disk).subspan(lba << kShift, blocks << kShift)
                              : std::span<std::byte>{};
    switch (static_cast<nvme::spec::IoOpcode>(command.opcode)) {
        case nvme::spec::IoOpcode::Read: {
            std::vector<std::byte> out(command.sgl.length);
            std::copy_n(place.begin(), std::min(place.size(), out.size()), out.begin());
            answer_data(command, out);
            return;
        }
        case nvme::spec::IoOpcode::Write:
            if (command.sgl.identifier == nvme::spec::kSglTransport) {
                writing_[command.cid] = {command, std::vector<std::byte>(command.sgl.length), 0};
                send_r2t(command.cid, 0, command.sgl.length);
                return;
            }
            std::copy_n(data.begin(), std::min(place.size(), data.size()), place.begin());
            break;
        case nvme::spec::IoOpcode::WriteZeroes:
            std::ranges::fill(place, std::byte{0});
            break;
        case nvme::spec::IoOpcode::Flush:
        case nvme::spec::IoOpcode::WriteUncorrectable:
        case nvme::spec::IoOpcode::DatasetManagement:
        case nvme::spec::IoOpcode::Compare:
        case nvme::spec::IoOpcode::Verify:
        case nvme::spec::IoOpcode::Copy:
        case nvme::spec::IoOpcode::ReservationRegister:
        case nvme::spec::IoOpcode::ReservationReport:
        case nvme::spec::IoOpcode::ReservationAcquire:
        case nvme::spec::IoOpcode::ReservationRelease:
            break;
    }
    respond(command.cid, 0);
}

void Link::on_h2c_data(const Pdu& pdu) {
    const auto header = pdu.as<nvme::tcp::DataPdu>();
    CHECK(header.datal == pdu.frame.data_size && header.datal <= max_h2c_);
    const auto found = writing_.find(header.cccid);
    if (found == writing_.end()) {
        return;  // of an R2T that was a lie
    }
    Writing& writing = found->second;
    if (header.datao != writing.have || pdu.data().size() > writing.data.size() - writing.have) {
        end(true);  // a lie asked for it, too
        return;
    }
    std::ranges::copy(pdu.data(), writing.data.begin() + writing.have);
    writing.have += pdu.frame.data_size;
    if (writing.have == writing.data.size()) {
        Command whole = writing.command;
        const std::vector<std::byte> data = std::move(writing.data);
        writing_.erase(found);
        whole.sgl.identifier = nvme::spec::kSglInCapsule;
        on_io(whole, data);
    }
}

void Link::answer_data(const Command& command, std::span<const std::byte> data) {
    send_data(command.cid, 0, data, nvme::tcp::kLastPdu | nvme::tcp::kSuccess);
}

LyingTarget::LyingTarget(reactor::Reactor& reactor) : disk(kBlocks << kShift), reactor_(reactor) {
    auto acceptor = reactor.io().listen(reactor::Endpoint::tcp("127.0.0.1", 4420), *this);
    CHECK(acceptor.has_value());
    acceptor_ = std::move(*acceptor);
    at = acceptor_->local();
}

LyingTarget::~LyingTarget() = default;

void LyingTarget::close() {
    acceptor_.reset();
    open_.clear();
}

void LyingTarget::on_accept(reactor::Handle connection) {
    auto stream = reactor_.io().adopt_stream(connection);
    CHECK(stream.has_value());
    std::erase_if(open_, [](const auto& link) { return link->ended(); });
    open_.push_back(std::make_unique<Link>(*this, std::move(*stream)));
    ++links;
}

std::vector<std::byte> LyingTarget::identify(const Command& command) const {
    const auto cns = static_cast<Cns>(command.cdw10.get() & 0xffU);
    std::vector<std::byte> page(nvme::spec::kIdentifyBytes);
    if (cns == Cns::Controller) {
        nvme::spec::IdentifyController data;
        data.mdts = 2;
        data.oaes = nvme::spec::kEventNamespaceAttribute;
        data.cntrltype = nvme::spec::kControllerTypeIo;
        data.kas = 10;
        data.nn = 16;
        data.oncs = nvme::spec::kOncsDatasetManagement | nvme::spec::kOncsWriteZeroes;
        data.vwc = 1;
        data.ioccsz = (64 + 1024) / 16;
        return page_of(data);
    }
    if (cns == Cns::ActiveNamespaces) {
        const core::le32 one(command.nsid == 0 ? 1U : 0U);
        std::memcpy(page.data(), &one, sizeof(one));
    } else if (cns == Cns::Namespace) {
        nvme::spec::IdentifyNamespace data;
        data.nsze = kBlocks;
        data.ncap = kBlocks;
        data.dlfeat = 9;
        data.lbaf[0].lba_shift = kShift;
        return page_of(data);
    } else if (cns == Cns::NamespaceDescriptors) {
        const nvme::spec::NamespaceDescriptor head{nvme::spec::kNidUuid, 16, {}};
        std::memcpy(page.data(), &head, sizeof(head));
        page[sizeof(head)] = std::byte{0x11};
    }
    return page;
}

}  // namespace remora::fuzz
