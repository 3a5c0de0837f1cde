// SPDX-License-Identifier: Apache-2.0
// Talk: writes the PDUs of both sides of a connection, right or with one thing wrong, and hands
// them to a checker, for its tests.
#pragma once

#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/oracle/nvme_tcp_checker.h"
#include "tests/sim/oracle/nvme_tcp_layout.h"
#include "tests/sim/oracle/table_crc.h"

namespace remora::sim {

struct TalkOptions {
    bool digests = false;
    bool cut = false;            ///< Byte by byte.
    std::uint8_t alignment = 0;  ///< HPDA and CPDA.
};

/// What a command has besides its opcode.
struct CommandParts {
    std::uint32_t length = 0;
    std::uint32_t in_capsule = 0;
    std::uint8_t sgl = layout::kSglTransport;
    std::uint8_t flags = 0x40;
    std::uint8_t fctype = 1;
    std::uint32_t cdw10 = 0;
    std::uint32_t cdw12 = 0;
};

class Talk {
  public:
    explicit Talk(TalkOptions with, CheckerOptions options = {.name = "test"})
        : options_(with),
          checker(
              std::move(options),
              [this] { return now; },
              [this](std::string text) { violations.push_back(std::move(text)); }) {}

    // ---- right PDUs

    void ic_req(std::uint32_t maxr2t = 0) {
        auto pdu = header(layout::kIcReq, 128);
        put<1>(pdu, layout::kIcAlignment, options_.alignment);
        put<1>(pdu, layout::kIcDgst, options_.digests ? 3 : 0);
        put<4>(pdu, layout::kIcLimit, maxr2t);
        send(std::move(pdu), 0);
    }
    void ic_resp(std::uint32_t max_h2c_data = 8192) {
        auto pdu = header(layout::kIcResp, 128);
        put<1>(pdu, layout::kIcAlignment, options_.alignment);
        put<1>(pdu, layout::kIcDgst, options_.digests ? 3 : 0);
        put<4>(pdu, layout::kIcLimit, max_h2c_data);
        send(std::move(pdu), 0);
        answered_ = true;
    }
    void handshake(std::uint32_t maxr2t = 0) {
        ic_req(maxr2t);
        ic_resp();
    }
    void connect(std::uint16_t qid,
                 std::uint16_t sqsize,
                 bool flow_control,
                 std::uint32_t kato = 0) {
        auto pdu = header(layout::kCapsuleCmd, 72);
        put<1>(pdu, layout::kSqeOpcode, layout::kFabrics);
        put<1>(pdu, layout::kSqeFlags, 0x40);
        put<1>(pdu, layout::kSqeFctype, layout::kFctypeConnect);
        put<4>(pdu, layout::kSqeSglLength, 1024);
        put<1>(pdu, layout::kSqeSglId, layout::kSglInCapsule);
        put<2>(pdu, layout::kSqeQid, qid);
        put<2>(pdu, layout::kSqeSqsize, sqsize);
        put<1>(pdu, layout::kSqeCattr, flow_control ? 0 : layout::kCattrNoFlowControl);
        put<4>(pdu, layout::kSqeKato, kato);
        send(std::move(pdu), 1024);
    }
    /// A queue of four entries in which everything may be sent.
    void live(std::uint16_t qid = 1, bool flow_control = false, std::uint32_t maxr2t = 0) {
        handshake(maxr2t);
        connect(qid, 3, flow_control, qid == 0 ? 1000 : 0);
        resp(0, 0, flow_control ? 1 : 0xffff);
    }
    void cmd(std::uint16_t cid, std::uint8_t opcode, CommandParts parts = {}) {
        auto pdu = header(layout::kCapsuleCmd, 72);
        put<1>(pdu, layout::kSqeOpcode, opcode);
        put<1>(pdu, layout::kSqeFlags, parts.flags);
        put<2>(pdu, layout::kSqeCid, cid);
        put<1>(pdu, layout::kSqeFctype, parts.fctype);
        put<4>(pdu, layout::kSqeSglLength, parts.length);
        put<1>(pdu, layout::kSqeSglId, parts.sgl);
        put<4>(pdu, layout::kSqe + 40, parts.cdw10);
        put<4>(pdu, layout::kSqe + 48, parts.cdw12);
        send(std::move(pdu), parts.in_capsule);
    }
    void read(std::uint16_t cid, std::uint32_t length) {
        cmd(cid, layout::kRead, {.length = length});
    }
    void write(std::uint16_t cid, std::uint32_t length) {
        cmd(cid, layout::kWrite, {.length = length});
    }
    /// A write with its data in the capsule.
    void short_write(std::uint16_t cid, std::uint32_t length, std::uint32_t carried) {
        cmd(cid, layout::kWrite,
            {.length = length, .in_capsule = carried, .sgl = layout::kSglInCapsule});
    }
    void flush(std::uint16_t cid) { cmd(cid, 0); }
    void resp(std::uint16_t cid, std::uint16_t status = 0, std::uint16_t sqhd = 0) {
        auto pdu = header(layout::kCapsuleResp, 24);
        put<2>(pdu, layout::kCqeSqhd, sqhd);
        put<2>(pdu, layout::kCqeCid, cid);
        put<2>(pdu, layout::kCqeStatus, static_cast<std::uint64_t>(status) << 1U);
        send(std::move(pdu), 0);
    }
    void r2t(std::uint16_t cid, std::uint16_t ttag, std::uint32_t offset, std::uint32_t length) {
        data_pdu(layout::kR2t, 0, cid, ttag, offset, length);
    }
    void h2c(std::uint16_t cid,
             std::uint16_t ttag,
             std::uint32_t offset,
             std::uint32_t length,
             bool last = true) {
        data_pdu(layout::kH2cData, last ? layout::kLastFlag : 0, cid, ttag, offset, length);
    }
    void c2h(std::uint16_t cid,
             std::uint32_t offset,
             std::uint32_t length,
             std::uint8_t flags = layout::kLastFlag) {
        data_pdu(layout::kC2hData, flags, cid, 0, offset, length);
    }
    void term(bool by_host, std::uint16_t fes = 1) {
        auto pdu = header(by_host ? layout::kH2cTermReq : layout::kC2hTermReq, 24);
        put<2>(pdu, layout::kTermFes, fes);
        put<4>(pdu, 4, 24 + 72);
        pdu.resize(24 + 72);
        raw(std::move(pdu), by_host);
    }

    // ---- wrong ones

    /// The next PDU has this byte at this offset of its header, and digests that fit.
    void patch(std::size_t offset, std::uint8_t value) { patches_.push_back({offset, value}); }
    /// The next PDU's byte at this offset is flipped behind its digests.
    void flip(std::size_t offset) { flips_.push_back(offset); }
    void raw(std::vector<std::byte> bytes, bool from_host) {
        for (const std::size_t offset : std::exchange(flips_, {})) {
            bytes.at(offset) ^= std::byte{0x10};
        }
        const std::size_t step = options_.cut ? 1 : bytes.size();
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            const auto part = std::span<const std::byte>(bytes).subspan(at, step);
            from_host ? checker.host_to_target(part) : checker.target_to_host(part);
        }
    }

    Nanos now{1};
    std::vector<std::string> violations;

  private:
    using Bytes = std::vector<std::byte>;
    TalkOptions options_;
    bool answered_ = false;

    template <std::size_t Size>
    static void put(Bytes& to, std::size_t offset, std::uint64_t value) {
        for (std::size_t i = 0; i < Size; ++i) {
            to.at(offset + i) = static_cast<std::byte>(value >> (8 * i));
        }
    }
    static Bytes header(std::uint8_t type, std::uint8_t hlen, std::uint8_t flags = 0) {
        Bytes pdu(hlen);
        put<1>(pdu, 0, type);
        put<1>(pdu, 1, flags);
        put<1>(pdu, 2, hlen);
        return pdu;
    }
    void data_pdu(std::uint8_t type,
                  std::uint8_t flags,
                  std::uint16_t cid,
                  std::uint16_t ttag,
                  std::uint32_t offset,
                  std::uint32_t length) {
        auto pdu = header(type, 24, flags);
        put<2>(pdu, layout::kDataCccid, cid);
        put<2>(pdu, layout::kDataTtag, ttag);
        put<4>(pdu, layout::kDataOffset, offset);
        put<4>(pdu, layout::kDataLength, length);
        send(std::move(pdu), type == layout::kR2t ? 0 : length);
    }
    static void append_crc(Bytes& to, std::span<const std::byte> of) {
        const std::uint32_t crc = TableCrc::of(of);
        to.resize(to.size() + layout::kDigest);
        put<4>(to, to.size() - layout::kDigest, crc);
    }
    /// Fills in flags, PDO and PLEN, then data and digests.
    void send(Bytes pdu, std::size_t data) {
        const std::uint8_t type = std::to_integer<std::uint8_t>(pdu[0]);
        const bool sealed = options_.digests && answered_ && layout::digested(type);
        const std::size_t hlen = pdu.size();
        std::size_t block = hlen + (sealed ? layout::kDigest : 0);
        if (data > 0) {
            const std::size_t unit = (options_.alignment + 1U) * 4U;
            block = (block + unit - 1) / unit * unit;
            put<1>(pdu, 3, block);
        }
        const bool tail = sealed && data > 0;
        put<1>(pdu, 1,
               std::to_integer<std::uint64_t>(pdu[1]) | (sealed ? 1U : 0U) | (tail ? 2U : 0U));
        put<4>(pdu, 4, block + data + (tail ? layout::kDigest : 0));
        for (const auto& [offset, value] : std::exchange(patches_, {})) {
            put<1>(pdu, offset, value);
        }
        if (sealed) {
            append_crc(pdu, Bytes(pdu));
        }
        pdu.resize(block);
        for (std::size_t i = 0; i < data; ++i) {
            pdu.push_back(static_cast<std::byte>(i * 7 + 1));
        }
        if (tail) {
            append_crc(pdu, std::span<const std::byte>(Bytes(pdu)).subspan(block));
        }
        raw(std::move(pdu), layout::to_controller(type));
    }

    std::vector<std::pair<std::size_t, std::uint8_t>> patches_;
    std::vector<std::size_t> flips_;

  public:
    NvmeTcpChecker checker;
};

}  // namespace remora::sim
