// SPDX-License-Identifier: Apache-2.0
// Identify: CNS values and data structures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "nvme/spec/command.h"

namespace remora::nvme::spec {

constexpr std::size_t kIdentifyBytes = 4096;
/// NSIDs that fit one active namespace list.
constexpr std::size_t kNamespaceListEntries = 1024;
/// Controller ids that fit one controller list.
constexpr std::size_t kControllerListEntries = 2047;

// NVM Express Base Specification 2.0, Identify - CNS Values (CDW10 7:0).
enum class Cns : std::uint8_t {
    Namespace = 0x00,
    Controller = 0x01,
    ActiveNamespaces = 0x02,
    NamespaceDescriptors = 0x03,
    CommandSetNamespace = 0x05,
    CommandSetController = 0x06,
    CommandSetActiveNamespaces = 0x07,
    IndependentNamespace = 0x08,
    AllocatedNamespaces = 0x10,
    AllocatedNamespace = 0x11,
    AttachedControllers = 0x12,
    Controllers = 0x13,
    CommandSets = 0x1c,
};

/// Identify for a Controller List.
inline bool lists_controllers(const Command& identify) {
    const auto cns = static_cast<Cns>(identify.cdw10 & 0xffU);
    return cns == Cns::AttachedControllers || cns == Cns::Controllers;
}
/// Where the list begins: CDW10 31:16 (CNTID).
inline std::uint16_t first_controller(const Command& identify) {
    return static_cast<std::uint16_t>(identify.cdw10 >> 16U);
}

// NVM Express Base Specification 2.0, Identify Controller Data Structure (I/O Command Set
// Independent), with the fabrics fields.
struct IdentifyController {
    le16 vid;
    le16 ssvid;
    char sn[20] = {};
    char mn[40] = {};
    char fr[8] = {};
    std::uint8_t rab = 0;
    std::uint8_t ieee[3] = {};
    std::uint8_t cmic = 0;
    std::uint8_t mdts = 0;  ///< Power of two in units of CAP.MPSMIN.
    le16 cntlid;
    le32 ver;
    le32 rtd3r;
    le32 rtd3e;
    le32 oaes;
    le32 ctratt;
    le16 rrls;
    std::uint8_t reserved102[9] = {};
    std::uint8_t cntrltype = 0;  ///< 1 I/O, 2 discovery.
    std::uint8_t fguid[16] = {};
    le16 crdt[3];
    std::uint8_t reserved134[122] = {};
    le16 oacs;
    std::uint8_t acl = 0;
    std::uint8_t aerl = 0;
    std::uint8_t frmw = 0;
    std::uint8_t lpa = 0;
    std::uint8_t elpe = 0;
    std::uint8_t npss = 0;
    std::uint8_t avscc = 0;
    std::uint8_t apsta = 0;
    le16 wctemp;
    le16 cctemp;
    le16 mtfa;
    le32 hmpre;
    le32 hmmin;
    std::uint8_t tnvmcap[16] = {};
    std::uint8_t unvmcap[16] = {};
    le32 rpmbs;
    le16 edstt;
    std::uint8_t dsto = 0;
    std::uint8_t fwug = 0;
    le16 kas;  ///< Keep Alive granularity in 100 ms; 0 is none.
    le16 hctma;
    le16 mntmt;
    le16 mxtmt;
    le32 sanicap;
    le32 hmminds;
    le16 hmmaxd;
    le16 nsetidmax;
    le16 endgidmax;
    std::uint8_t anatt = 0;
    std::uint8_t anacap = 0;
    le32 anagrpmax;
    le32 nanagrpid;
    le32 pels;
    le16 domain_id;
    std::uint8_t reserved358[10] = {};
    std::uint8_t megcap[16] = {};
    std::uint8_t reserved384[128] = {};
    std::uint8_t sqes = 0;
    std::uint8_t cqes = 0;
    le16 maxcmd;
    le32 nn;
    le16 oncs;
    le16 fuses;
    std::uint8_t fna = 0;
    std::uint8_t vwc = 0;
    le16 awun;
    le16 awupf;
    std::uint8_t icsvscc = 0;
    std::uint8_t nwpc = 0;
    le16 acwu;
    le16 cdfs;
    le32 sgls;
    le32 mnan;
    std::uint8_t maxdna[16] = {};
    le32 maxcna;
    std::uint8_t reserved564[204] = {};
    char subnqn[256] = {};
    std::uint8_t reserved1024[768] = {};
    le32 ioccsz;  ///< I/O queue command capsule size in 16 bytes.
    le32 iorcsz;
    le16 icdoff;
    std::uint8_t fcatt = 0;
    std::uint8_t msdbd = 0;
    le16 ofcs;
    std::uint8_t reserved1806[242] = {};
    std::uint8_t psd[32][32] = {};
    std::uint8_t vendor[1024] = {};
};
static_assert(sizeof(IdentifyController) == kIdentifyBytes);
static_assert(offsetof(IdentifyController, cntlid) == 78);
static_assert(offsetof(IdentifyController, oaes) == 92);
static_assert(offsetof(IdentifyController, cntrltype) == 111);
static_assert(offsetof(IdentifyController, oacs) == 256);
static_assert(offsetof(IdentifyController, kas) == 320);
static_assert(offsetof(IdentifyController, anatt) == 342);
static_assert(offsetof(IdentifyController, sqes) == 512);
static_assert(offsetof(IdentifyController, nn) == 516);
static_assert(offsetof(IdentifyController, vwc) == 525);
static_assert(offsetof(IdentifyController, sgls) == 536);
static_assert(offsetof(IdentifyController, subnqn) == 768);
static_assert(offsetof(IdentifyController, ioccsz) == 1792);
static_assert(offsetof(IdentifyController, msdbd) == 1803);
static_assert(offsetof(IdentifyController, psd) == 2048);
static_assert(std::is_trivially_copyable_v<IdentifyController>);

constexpr std::uint8_t kControllerTypeIo = 1;
constexpr std::uint8_t kControllerTypeDiscovery = 2;
/// OAES and the Asynchronous Event Configuration feature.
constexpr std::uint32_t kEventNamespaceAttribute = 1U << 8U;
constexpr std::uint32_t kEventAnaChange = 1U << 11U;
constexpr std::uint32_t kEventDiscoveryLog = 1U << 31U;
/// ONCS bits.
constexpr std::uint16_t kOncsCompare = 1U << 0U;
constexpr std::uint16_t kOncsWriteUncorrectable = 1U << 1U;
constexpr std::uint16_t kOncsDatasetManagement = 1U << 2U;
constexpr std::uint16_t kOncsWriteZeroes = 1U << 3U;
constexpr std::uint16_t kOncsReservations = 1U << 5U;
constexpr std::uint16_t kOncsVerify = 1U << 7U;
constexpr std::uint16_t kOncsCopy = 1U << 8U;
/// FUSES: Compare and Write.
constexpr std::uint16_t kFusesCompareAndWrite = 1U << 0U;
/// CDFS: Copy takes Source Range Entries Descriptor Format 0h.
constexpr std::uint16_t kCopyFormat0 = 1U << 0U;
/// SGLS: SGLs supported; the address may be an offset; transport SGL data block descriptors.
constexpr std::uint32_t kSglsFabrics = (1U << 0U) | (1U << 20U) | (1U << 21U);
/// SGLS of a PCIe controller: SGLs supported, without rules of alignment.
constexpr std::uint32_t kSglsPcie = 1U << 0U;
/// OACS: Doorbell Buffer Config.
constexpr std::uint16_t kOacsDoorbellBuffers = 1U << 8U;
/// VWC: a cache may be present.
constexpr std::uint8_t kVwcPresent = 1U << 0U;

// NVM Express Base Specification 2.0, Controller List: ascending identifiers behind their number.
struct ControllerList {
    le16 count;
    le16 cntlid[kControllerListEntries];
};
static_assert(sizeof(ControllerList) == kIdentifyBytes);
static_assert(offsetof(ControllerList, cntlid) == 2);

// NVM Command Set Specification 1.0, LBA Format Data Structure.
struct LbaFormat {
    le16 metadata_bytes;
    std::uint8_t lba_shift = 0;  ///< Block size as a power of two.
    std::uint8_t relative_performance = 0;
};
static_assert(sizeof(LbaFormat) == 4);

// NVM Command Set Specification 1.0, Identify Namespace Data Structure.
struct IdentifyNamespace {
    le64 nsze;
    le64 ncap;
    le64 nuse;
    std::uint8_t nsfeat = 0;
    std::uint8_t nlbaf = 0;
    std::uint8_t flbas = 0;  ///< Format index: 3:0 low, 6:5 high bits; 4 metadata placement.
    std::uint8_t mc = 0;
    std::uint8_t dpc = 0;
    std::uint8_t dps = 0;
    std::uint8_t nmic = 0;
    std::uint8_t rescap = 0;
    std::uint8_t fpi = 0;
    std::uint8_t dlfeat = 0;
    le16 nawun;
    le16 nawupf;
    le16 nacwu;
    le16 nabsn;
    le16 nabo;
    le16 nabspf;
    le16 noiob;
    std::uint8_t nvmcap[16] = {};
    le16 npwg;
    le16 npwa;
    le16 npdg;
    le16 npda;
    le16 nows;
    le16 mssrl;
    le32 mcl;
    std::uint8_t msrc = 0;
    std::uint8_t reserved81[11] = {};
    le32 anagrpid;
    std::uint8_t reserved96[3] = {};
    std::uint8_t nsattr = 0;
    le16 nvmsetid;
    le16 endgid;
    std::uint8_t nguid[16] = {};
    std::uint8_t eui64[8] = {};
    LbaFormat lbaf[64];
    std::uint8_t vendor[3712] = {};
};
static_assert(sizeof(IdentifyNamespace) == kIdentifyBytes);
static_assert(offsetof(IdentifyNamespace, nsfeat) == 24);
static_assert(offsetof(IdentifyNamespace, dlfeat) == 33);
static_assert(offsetof(IdentifyNamespace, noiob) == 46);
static_assert(offsetof(IdentifyNamespace, npwg) == 64);
static_assert(offsetof(IdentifyNamespace, anagrpid) == 92);
static_assert(offsetof(IdentifyNamespace, nsattr) == 99);
static_assert(offsetof(IdentifyNamespace, nguid) == 104);
static_assert(offsetof(IdentifyNamespace, eui64) == 120);
static_assert(offsetof(IdentifyNamespace, lbaf) == 128);
static_assert(std::is_trivially_copyable_v<IdentifyNamespace>);

constexpr std::uint8_t kNsattrWriteProtected = 1U << 0U;
constexpr std::uint8_t kDlfeatReadsZero = 0x01;
constexpr std::uint8_t kNmicShared = 1U << 0U;
/// NSFEAT: NPWG, NPWA, NPDG, NPDA and NOWS are filled in.
constexpr std::uint8_t kNsfeatOptimalIo = 1U << 4U;

// NVM Express Base Specification 2.0, I/O Command Set Independent Identify Namespace Data
// Structure.
struct IdentifyIndependentNamespace {
    std::uint8_t nsfeat = 0;
    std::uint8_t nmic = 0;
    std::uint8_t rescap = 0;
    std::uint8_t fpi = 0;
    le32 anagrpid;
    std::uint8_t nsattr = 0;
    std::uint8_t reserved9 = 0;
    le16 nvmsetid;
    le16 endgid;
    std::uint8_t nstat = 0;
    std::uint8_t reserved15[4081] = {};
};
static_assert(sizeof(IdentifyIndependentNamespace) == kIdentifyBytes);
static_assert(offsetof(IdentifyIndependentNamespace, nsattr) == 8);
static_assert(offsetof(IdentifyIndependentNamespace, nstat) == 14);
constexpr std::uint8_t kNstatReady = 1U << 0U;

// NVM Express Base Specification 2.0, Namespace Identification Descriptor: header, then NIDL bytes.
struct NamespaceDescriptor {
    std::uint8_t type = 0;
    std::uint8_t length = 0;
    std::uint8_t reserved2[2] = {};
};
static_assert(sizeof(NamespaceDescriptor) == 4);
constexpr std::uint8_t kNidEui64 = 1;       ///< 8 bytes.
constexpr std::uint8_t kNidNguid = 2;       ///< 16 bytes.
constexpr std::uint8_t kNidUuid = 3;        ///< 16 bytes.
constexpr std::uint8_t kNidCommandSet = 4;  ///< 1 byte.

}  // namespace remora::nvme::spec
