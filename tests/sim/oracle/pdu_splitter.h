// SPDX-License-Identifier: Apache-2.0
// PduSplitter: cuts one direction of an NVMe/TCP connection into PDUs, from bytes in any pieces,
// and checks what each PDU says about itself: type, flags, HLEN, PDO, PLEN and the digests.
//
// After something that leaves no doubt-free place for the next PDU it is lost, and says nothing
// more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tests/sim/oracle/nvme_tcp_layout.h"
#include "tests/sim/oracle/table_crc.h"

namespace remora::sim {

struct Pdu {
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::uint8_t hlen = 0;
    std::uint8_t pdo = 0;
    std::uint32_t plen = 0;
    std::uint32_t data = 0;  ///< Bytes, without the digest.
    bool data_good = true;   ///< At its end: no data digest, or a right one.
    std::array<std::byte, layout::kMostHeaderBytes + layout::kDigest> header{};

    [[nodiscard]] bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
    [[nodiscard]] const char* name() const {
        return type < layout::kTypes ? layout::kNames[type] : "an unknown type";
    }
};

class PduSink {
  public:
    /// The header is there and right; its data is still to come. Not called for a bad header.
    virtual void on_header(const Pdu& pdu) = 0;
    virtual void on_end(const Pdu& pdu) = 0;
    /// The sender broke a rule.
    virtual void on_wrong(const Pdu& pdu, const std::string& what) = 0;
    virtual void on_bad_header_digest(const Pdu& pdu) = 0;
    virtual void on_bad_data_digest(const Pdu& pdu) = 0;
    /// What follows cannot be read any more.
    virtual void on_lost() = 0;

  protected:
    ~PduSink() = default;
};

class PduSplitter {
  public:
    PduSplitter(bool from_host, PduSink& sink) : from_host_(from_host), sink_(sink) {}

    void feed(std::span<const std::byte> bytes);
    /// From the next PDU on. `alignment`: what PDO must be a multiple of, bytes.
    void negotiated(bool header_digest, bool data_digest, std::uint32_t alignment) {
        header_digest_ = header_digest;
        data_digest_ = data_digest;
        alignment_ = alignment;
    }
    [[nodiscard]] bool lost() const { return lost_; }
    [[nodiscard]] bool between_pdus() const { return phase_ == Phase::Header && have_ == 0; }
    [[nodiscard]] bool header_digest() const { return header_digest_; }

  private:
    enum class Phase : std::uint8_t { Header, Pad, Data, Digest };
    using Bytes = std::span<const std::byte>;

    Bytes take_header(Bytes in);
    Bytes take_rest(Bytes in);
    void common_header();
    void whole_header();
    std::string layout_fault();
    void end_phase();
    void end_data();
    void lose(const std::string& why);

    bool from_host_;
    PduSink& sink_;
    bool header_digest_ = false;
    bool data_digest_ = false;
    std::uint32_t alignment_ = 4;
    bool lost_ = false;
    Phase phase_ = Phase::Header;
    Pdu pdu_;
    std::size_t have_ = 0;  // of the header, or of the digest
    std::size_t need_ = layout::kCommonBytes;
    std::uint32_t left_ = 0;  // of the phase
    TableCrc crc_;
    std::array<std::byte, layout::kDigest> digest_{};
};

}  // namespace remora::sim
