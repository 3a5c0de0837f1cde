// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/oracle/pdu_splitter.h"

#include <algorithm>
#include <cstring>

#include "tests/sim/oracle/filled.h"

namespace remora::sim {

using namespace layout;  // NOLINT(google-build-using-namespace): constants of this file's subject

void PduSplitter::feed(std::span<const std::byte> bytes) {
    while (!bytes.empty() && !lost_) {
        bytes = phase_ == Phase::Header ? take_header(bytes) : take_rest(bytes);
    }
}

PduSplitter::Bytes PduSplitter::take_header(Bytes in) {
    const std::size_t count = std::min(in.size(), need_ - have_);
    std::memcpy(pdu_.header.data() + have_, in.data(), count);
    have_ += count;
    if (have_ == need_ && need_ == kCommonBytes) {
        common_header();
    } else if (have_ == need_) {
        whole_header();
    }
    return in.subspan(count);
}

void PduSplitter::common_header() {
    pdu_.type = load8(pdu_.header, 0);
    pdu_.flags = load8(pdu_.header, 1);
    pdu_.hlen = load8(pdu_.header, 2);
    pdu_.pdo = load8(pdu_.header, 3);
    pdu_.plen = load32(pdu_.header, 4);
    pdu_.data = 0;
    pdu_.data_good = true;
    if (pdu_.type >= kTypes || kHlen[pdu_.type] == 0) {
        lose(filled("PDU type {} does not exist (TCP §3.6.1)", pdu_.type));
    } else if (to_controller(pdu_.type) != from_host_) {
        lose(filled("{} goes the other way (TCP §3.6.1)", pdu_.name()));
    } else if (pdu_.hlen != kHlen[pdu_.type]) {
        lose(filled("{} has HLEN {}, not {} (TCP §3.6.2)", pdu_.name(), pdu_.hlen,
                    kHlen[pdu_.type]));
    } else {
        need_ = pdu_.hlen + (header_digest_ && digested(pdu_.type) ? kDigest : 0);
    }
}

void PduSplitter::whole_header() {
    const bool sealed = header_digest_ && digested(pdu_.type);
    const Bytes header(pdu_.header);
    if (sealed && TableCrc::of(header.first(pdu_.hlen)) != load32(header, pdu_.hlen)) {
        lost_ = true;
        sink_.on_bad_header_digest(pdu_);
        sink_.on_lost();
        return;
    }
    if (const std::string fault = layout_fault(); !fault.empty()) {
        lose(fault);
        return;
    }
    sink_.on_header(pdu_);
    crc_ = {};
    left_ = pdu_.data > 0 ? pdu_.pdo - static_cast<std::uint32_t>(need_) : 0;
    phase_ = Phase::Pad;
    end_phase();
}

/// Checks flags, PDO and PLEN, and finds the data's size.
std::string PduSplitter::layout_fault() {
    if ((pdu_.flags & ~kFlagsAllowed[pdu_.type]) != 0) {
        return filled("{} has flags {}, some of them reserved (TCP §3.6.2)", pdu_.name(),
                      pdu_.flags);
    }
    if (digested(pdu_.type) && pdu_.has(kHdgstFlag) != header_digest_) {
        return filled("{} has HDGSTF {}, but ICResp said {} (TCP §3.6.1)", pdu_.name(),
                      pdu_.has(kHdgstFlag) ? 1 : 0, header_digest_ ? 1 : 0);
    }
    const auto block = static_cast<std::uint32_t>(need_);
    if (pdu_.type == kH2cTermReq || pdu_.type == kC2hTermReq) {
        if (pdu_.plen < block || pdu_.plen > kMostTermReqBytes || pdu_.pdo != 0) {
            return filled("{} has PLEN {} and PDO {} (TCP §3.6.2)", pdu_.name(), pdu_.plen,
                          pdu_.pdo);
        }
        pdu_.data = pdu_.plen - block;
        pdu_.pdo = static_cast<std::uint8_t>(block);  // no pad
        return {};
    }
    const bool data = may_have_data(pdu_.type) && pdu_.plen > block;
    if (!data) {
        return pdu_.plen != block || pdu_.pdo != 0 || pdu_.has(kDdgstFlag)
                   ? filled(
                         "{} without data has PLEN {}, PDO {}, flags {}; its header is {} bytes "
                         "(TCP §3.6.1)",
                         pdu_.name(), pdu_.plen, pdu_.pdo, pdu_.flags, block)
                   : "";
    }
    if (pdu_.has(kDdgstFlag) != data_digest_) {
        return filled("{} has DDGSTF {}, but ICResp said {} (TCP §3.6.1)", pdu_.name(),
                      pdu_.has(kDdgstFlag) ? 1 : 0, data_digest_ ? 1 : 0);
    }
    const auto tail = static_cast<std::uint32_t>(data_digest_ ? kDigest : 0);
    if (pdu_.pdo < block || pdu_.pdo % alignment_ != 0 || pdu_.plen <= pdu_.pdo + tail) {
        return filled(
            "{} has PDO {} and PLEN {}; its header is {} bytes, data is aligned to {} "
            "(TCP §3.6.1)",
            pdu_.name(), pdu_.pdo, pdu_.plen, block, alignment_);
    }
    pdu_.data = pdu_.plen - pdu_.pdo - tail;
    return {};
}

PduSplitter::Bytes PduSplitter::take_rest(Bytes in) {
    const std::size_t count = std::min<std::size_t>(in.size(), left_);
    if (phase_ == Phase::Data) {
        crc_.update(in.first(count));
    } else if (phase_ == Phase::Digest) {
        std::memcpy(digest_.data() + kDigest - left_, in.data(), count);
    }
    left_ -= static_cast<std::uint32_t>(count);
    end_phase();
    return in.subspan(count);
}

/// Goes on to the next phase that has bytes.
void PduSplitter::end_phase() {
    while (left_ == 0 && !lost_) {
        const bool digest = pdu_.has(kDdgstFlag) && pdu_.data > 0;
        if (phase_ == Phase::Pad) {
            phase_ = Phase::Data;
            left_ = pdu_.data;
        } else if (phase_ == Phase::Data && digest) {
            phase_ = Phase::Digest;
            left_ = kDigest;
        } else {
            end_data();
            return;
        }
    }
}

void PduSplitter::end_data() {
    phase_ = Phase::Header;
    have_ = 0;
    need_ = kCommonBytes;
    if (pdu_.has(kDdgstFlag) && crc_.value() != load32(digest_, 0)) {
        pdu_.data_good = false;
        sink_.on_bad_data_digest(pdu_);
    }
    sink_.on_end(pdu_);
}

void PduSplitter::lose(const std::string& why) {
    lost_ = true;
    sink_.on_wrong(pdu_, why);
    sink_.on_lost();
}

}  // namespace remora::sim
